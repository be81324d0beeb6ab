-- {"p50", "p95", "p99"} of a histogram: the upper bound of the bucket that the percentile falls into, in seconds.
create or replace function dtsched.percentiles(p_histogram bigint[]) returns jsonb
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select jsonb_object_agg(wanted.name, (
        select (dtsched.bucket_bounds())[reached.n]
        from (select bucket.n, sum(bucket.jobs) over (order by bucket.n) as up_to, sum(bucket.jobs) over () as all_of
              from unnest(p_histogram) with ordinality as bucket (jobs, n)) reached
        where reached.all_of > 0 and reached.up_to >= wanted.share * reached.all_of
        order by reached.n
        limit 1))
    from (values ('p50', 0.5), ('p95', 0.95), ('p99', 0.99)) as wanted (name, share)
$$;

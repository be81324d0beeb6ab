-- Where the buckets of the latency histograms end, in seconds: bucket n holds what is below bound n and not below the one
-- before; one more bucket holds the rest.
create or replace function dtsched.bucket_bounds() returns double precision[]
language sql immutable parallel safe
as $$
    select array[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600]::float8[]
$$;

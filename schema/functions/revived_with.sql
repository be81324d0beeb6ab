-- These jobs, and all that were cancelled because one of them, so far as it has failed or was cancelled, did not complete: a
-- retry of these brings those back. Reads jobs_pkey, cancelled_by_pkey.
create or replace function dtsched.revived_with(p_ids bigint[]) returns bigint[]
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    with recursive revived (id) as (
        select job.id from dtsched.jobs job where job.id = any (p_ids) and job.state in ('failed', 'cancelled')
        union
        select kept.child_id
        from revived
        cross join lateral (
            select kept.child_id from dtsched.cancelled_by kept where kept.parent_id = revived.id offset 0) kept
    )
    select coalesce(array_agg(id order by id), '{}')
    from (select revived.id from revived union select id from unnest(p_ids) id) every
$$;

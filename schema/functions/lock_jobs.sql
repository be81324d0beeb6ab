-- Locks these jobs as far as nobody else holds them, and returns those that somebody does. Locks: jobs by id, SKIP LOCKED.
create or replace function dtsched.lock_jobs(p_ids bigint[]) returns bigint[]
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    with locked as materialized (
        select job.id from dtsched.jobs job where job.id = any (p_ids) order by job.id for no key update skip locked
    )
    select array(select job.id from dtsched.jobs job where job.id = any (p_ids) except select locked.id from locked)
$$;

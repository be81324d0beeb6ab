-- Those of these jobs that have ended, or are not there. Reads jobs_pkey.
create or replace function dtsched.ended(p_ids bigint[]) returns setof bigint
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select asked.id
    from unnest(p_ids) asked (id)
    where not exists (
        select from dtsched.jobs job
        where job.id = asked.id and job.state in ('blocked', 'scheduled', 'ready', 'running'))
$$;

-- Whether there is such a job, and it has not ended.
create or replace function dtsched.unfinished(p_id bigint) returns boolean
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select exists (select from dtsched.jobs job
                   where job.id = p_id and job.state in ('blocked', 'scheduled', 'ready', 'running'))
$$;

-- The job that holds each of these keys: an unfinished one, or one that has ended and keeps its key for longer; a key that
-- nobody holds is left out.
create or replace function dtsched.jobs_of_keys(p_keys text[]) returns table (key text, job_id bigint)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select taken.key, taken.job_id
    from dtsched.keys taken
    where taken.key = any (p_keys)
        and (taken.until is null or taken.until > dtsched.now()
             or exists (
                 select from dtsched.jobs job
                 where job.id = taken.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running')))
$$;

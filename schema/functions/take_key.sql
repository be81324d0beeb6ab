-- Has a job hold a key if it is free, or held by a job that is gone, or by one that has ended and only until now; false if
-- it is not to be had. Waits for a rival that has not committed yet. Locks: the key.
create or replace function dtsched.take_key(p_key text, p_job bigint, p_until timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    -- the lock first, and then a new statement: retry() holds it while it makes an ended job unfinished again
    perform from dtsched.keys taken where taken.key = p_key for update;
    if found then
        update dtsched.keys taken
        set job_id = p_job,
            until = p_until
        where taken.key = p_key
            and (taken.job_id = p_job
                 or not exists (
                     select from dtsched.jobs job
                     where job.id = taken.job_id
                         and (job.state in ('blocked', 'scheduled', 'ready', 'running') or taken.until > dtsched.now())));
    else
        insert into dtsched.keys (key, job_id, until) values (p_key, p_job, p_until) on conflict do nothing;
    end if;
    return found;
end $$;

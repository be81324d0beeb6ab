-- Has ready jobs with limit keys wait in parked for their seats, which free_seats() gives to the first in line. The caller
-- holds the jobs' rows. Locks: their entries.
create or replace function dtsched.park_limited(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
    select job.id, 'limit', job.queue, job.priority, job.task, job.limit_key
    from dtsched.jobs job
    where job.id = any (p_jobs)
    order by job.id
    on conflict (job_id) do update  -- an entry from before it was changed
    set reason = excluded.reason, queue = excluded.queue, priority = excluded.priority, task = excluded.task,
        limit_key = excluded.limit_key;
end $$;

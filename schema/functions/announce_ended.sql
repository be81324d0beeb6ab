-- Tells those who wait for one of these jobs that it has ended (channel dtsched_done, ids separated by commas), and says
-- nothing when nobody waits: a NOTIFY takes a database-wide lock across the WAL flush. Who waits holds a shared advisory lock
-- on a gate, and on the bucket of the job's id (see watch_ended); trying the exclusive one tells. A waiter that came in between
-- finds out by its slow poll. Deletions are announced too.
create or replace function dtsched.announce_ended(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_gate constant integer := dtsched.gate() + 1;
begin
    -- one expression, so that nothing can come between the lock and its release
    if (case when pg_try_advisory_lock(v_gate) then pg_advisory_unlock(v_gate) else false end) then
        return;
    end if;
    if current_setting('dtsched.notify', true) = 'off' or pg_notification_queue_usage() > 0.5 then
        return;
    end if;
    perform pg_notify('dtsched_done', string_agg(awaited.job_id::text, ','))
    from (
        select ended.job_id, row_number() over () / 380 as part  -- a payload holds 8,000 bytes
        from (select distinct (id % 256)::integer as bucket from unnest(p_jobs) id) of_these
        join unnest(p_jobs) ended (job_id) on ended.job_id % 256 = of_these.bucket
        where not case when pg_try_advisory_lock(v_gate, of_these.bucket)
                       then pg_advisory_unlock(v_gate, of_these.bucket) else false end
    ) awaited
    group by awaited.part;
end $$;

-- Wakes those who wait for an event that has been emitted, at most 10,000, and returns how many. The event is due while there
-- are more, or some that cannot be woken now: a job that is running may be parked by a finish() that does not see the event
-- yet, and a parked one may be held by somebody. A wait of any other job needs nothing: before it is parked it asks again, and
-- is told. A transaction that is not READ COMMITTED does not see who came lately, so it leaves all to the workers.
-- Reads event_waits_pkey. Locks: wake_waiting's, then waits, and the event's row.
create or replace function dtsched.deliver_event(p_name text) returns integer
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_waiting bigint[] := array(
        select wait.job_id
        from dtsched.event_waits wait
        where wait.event = p_name and wait.woken_at is null
        order by wait.job_id
        limit 10000);
    v_woken bigint[] := dtsched.wake_waiting(v_waiting);
begin
    update dtsched.event_waits wait
    set woken_at = dtsched.now()
    where wait.event = p_name and wait.job_id = any (v_waiting)
        and (wait.job_id = any (v_woken)
             or not exists (
                select
                from dtsched.jobs job
                left join dtsched.steps step on step.job_id = job.id and step.name = wait.step
                where job.id = wait.job_id
                    and (job.state = 'running'
                         or job.state = 'scheduled' and step.state = 'waiting' and job.run_at = step.until)));
    update dtsched.events event
    set due = current_setting('transaction_isolation') <> 'read committed'
        or exists (select from dtsched.event_waits wait where wait.event = p_name and wait.woken_at is null)
    where event.name = p_name;
    return cardinality(v_woken);
end $$;

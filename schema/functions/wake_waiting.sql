-- Makes those of these jobs ready that are parked for an event which has been emitted, as far as nobody holds their rows, and
-- returns them. A job is parked for an event when its run_at is the end of that wait; one that waits for its next attempt is
-- left alone. What it makes ready is due from now on. Locks: jobs by id, and then their entries of scheduled, SKIP LOCKED:
-- an entry that promote() holds is dropped there.
create or replace function dtsched.wake_waiting(p_jobs bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_locked bigint[] := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_jobs) and job.state = 'scheduled'
        order by job.id
        for no key update skip locked);
    v_woken bigint[];
    v_untils timestamptz[];
begin
    if v_locked = '{}' then
        return v_locked;
    end if;
    -- a new statement: what was changed until the rows were locked is seen
    with emitted as materialized (
        select distinct job.id, job.run_at::timestamptz as until
        from dtsched.event_waits wait
        join dtsched.steps step on step.job_id = wait.job_id and step.name = wait.step and step.state = 'waiting'
        join dtsched.jobs job on job.id = wait.job_id and job.run_at = step.until
        where wait.job_id = any (v_locked)
            and exists (select from dtsched.events event where event.name = wait.event)
    ),
    woken as (
        update dtsched.jobs job
        set state = 'ready',
            run_at = dtsched.now()
        from emitted
        where job.id = emitted.id and job.state = 'scheduled'
        returning job.id, job.queue, job.priority, emitted.until
    ),
    now_ready as (
        insert into dtsched.ready (queue, priority, job_id)
        select woken.queue, woken.priority, woken.id from woken
        on conflict do nothing  -- an entry of this very transaction, which fits again
    )
    select coalesce(array_agg(woken.id), '{}'), array_agg(woken.until) into v_woken, v_untils from woken;
    delete from dtsched.scheduled entry
    where entry.ctid = any (array(
        select old.ctid
        from unnest(v_untils, v_woken) as was (until, id)
        cross join lateral (
            select entry.ctid
            from dtsched.scheduled entry
            where entry.run_at = was.until and entry.job_id = was.id
            for update skip locked) old));
    return v_woken;
end $$;

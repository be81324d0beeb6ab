-- Brings what says where jobs are in line with the queue, priority and limit key that edit() is about to give them; it holds
-- their rows. A job that was parked, or whose deadline had passed, is met anew by a claim. What has ended is counted in its new queue, without being counted
-- as an attempt again. Reads ready_pkey, the whole of the lanes that ready jobs leave.
-- Locks: entries of ready, scheduled, parked and blocked rows, SKIP LOCKED.
create or replace function dtsched.edit_lanes(p_jobs bigint[], p_changes jsonb) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_queue text := p_changes ->> 'queue';
    v_priority smallint := p_changes ->> 'priority';
    v_ready bigint[] := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_jobs) and job.state = 'ready'
            and (job.queue <> coalesce(v_queue, job.queue) or job.priority <> coalesce(v_priority, job.priority)
                 or p_changes ? 'limit_key'
                 or p_changes ? 'deadline' and job.deadline <= dtsched.now())  -- a claim may have dropped its entry
        order by job.id);
begin
    if v_ready <> '{}' then
        with lane as materialized (
            select distinct job.queue::text as queue, job.priority::smallint as priority
            from dtsched.jobs job
            where job.id = any (v_ready)
        )
        delete from dtsched.ready entry
        where entry.ctid = any (array(
            select old.tid
            from lane
            cross join lateral (
                select entry.ctid as tid
                from dtsched.ready entry
                where entry.queue = lane.queue and entry.priority = lane.priority and entry.job_id = any (v_ready)
                for update skip locked) old));
        delete from dtsched.parked entry
        where entry.ctid = any (array(
            select entry.ctid from dtsched.parked entry where entry.job_id = any (v_ready) for update skip locked));
        insert into dtsched.ready (queue, priority, job_id)
        select coalesce(v_queue, job.queue), coalesce(v_priority, job.priority), job.id
        from dtsched.jobs job
        where job.id = any (v_ready)
        order by job.id
        on conflict do nothing;  -- an entry of this very transaction, which fits again
    end if;
    if v_queue is not null then
        update dtsched.scheduled entry
        set queue = v_queue
        where entry.ctid = any (array(
            select entry.ctid
            from dtsched.jobs job
            join dtsched.scheduled entry on entry.run_at = job.run_at and entry.job_id = job.id
            where job.id = any (p_jobs) and job.state = 'scheduled'
            for update of entry skip locked));
        update dtsched.blocked waiting
        set queue = v_queue
        where waiting.ctid = any (array(
            select waiting.ctid from dtsched.blocked waiting where waiting.job_id = any (p_jobs) for update skip locked));
        insert into dtsched.tallies (queue, task, event, jobs)
        select counted.queue, counted.task, counted.event, sum(counted.jobs)
        from (
            select place.queue, job.task::text as task, case job.state when 'failed' then 'unfail' else 'uncancel' end as event,
                place.jobs
            from dtsched.jobs job
            cross join lateral (values (job.queue::text, 1), (v_queue, -1)) as place (queue, jobs)
            where job.id = any (p_jobs) and job.state in ('failed', 'cancelled') and job.queue <> v_queue) counted
        group by 1, 2, 3;
    end if;
end $$;

-- The queues that have a row, wait for something or are served, by name; only p_name, and only those of p_queues, if given. ready, scheduled and blocked
-- are counted up to 1,000,000; over 20,000, jobs that were cancelled or moved since may be among them. parked is the part of
-- ready that waits under a limit key, or for a worker that knows its task. oldest_ready_seconds is how long the head of the queue has been ready to be claimed,
-- null when it is empty. open_until is when an open circuit breaker lets a job try, null where it is closed. completed_per_second and failed_per_second are of this minute and the four before. workers and
-- slots are those of the live workers that serve it.
create or replace function dtsched.list_queues(p_name text default null, p_queues text[] default null)
returns table (
    name text,
    paused_at timestamptz,
    open_until timestamptz,
    ready bigint,
    parked bigint,
    scheduled bigint,
    blocked bigint,
    running bigint,
    oldest_ready_seconds double precision,
    completed_per_second double precision,
    failed_per_second double precision,
    workers bigint,
    slots bigint,
    settings jsonb
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    with recursive lane (queue) as (
        (select min(entry.queue) from dtsched.ready entry)
        union all
        select (select min(entry.queue) from dtsched.ready entry where entry.queue > lane.queue)
        from lane
        where lane.queue is not null
    ),
    later as materialized (
        select entry.queue, count(*) as jobs
        from (select entry.queue from dtsched.scheduled entry limit 1000000) entry
        group by entry.queue
    ),
    later_exact as materialized (  -- an entry may be stale: its job was cancelled, or moved
        select entry.queue, count(*) as jobs
        from dtsched.scheduled entry
        join dtsched.jobs job on job.id = entry.job_id and job.state = 'scheduled' and job.run_at = entry.run_at
        where (select sum(later.jobs) from later) <= 20000
        group by entry.queue
    ),
    waits as materialized (
        select waiting.queue, count(*) as jobs
        from (select waiting.queue from dtsched.blocked waiting limit 1000000) waiting
        group by waiting.queue
    ),
    aside as materialized (
        select entry.queue, count(*) as jobs
        from (select entry.queue from dtsched.parked entry limit 1000000) entry
        group by entry.queue
    ),
    aside_exact as materialized (
        select entry.queue, count(*) as jobs
        from dtsched.parked entry
        join dtsched.jobs job on job.id = entry.job_id and job.state = 'ready'
        where (select sum(aside.jobs) from aside) <= 20000
        group by entry.queue
    ),
    runs as materialized (
        select lease.queue, count(*) as jobs from dtsched.leases lease group by lease.queue
    ),
    live as materialized (
        select served.queue, count(*) as workers, sum(worker.slots) as slots
        from dtsched.workers worker
        cross join lateral unnest(worker.queues) served (queue)
        where worker.lost_at is null and worker.expires_at > dtsched.now()
        group by served.queue
    ),
    rate as materialized (
        select minute.queue, sum(minute.jobs) filter (where minute.event = 'complete') as completed,
            sum(minute.jobs) filter (where minute.event = 'fail') as failed
        from dtsched.counted(dtsched.rates_from(), 'infinity') minute
        group by minute.queue
    ),
    known (name) as (
        select queue.name::text from dtsched.queues queue
        union select lane.queue from lane
        union select later.queue from later
        union select waits.queue from waits
        union select aside.queue from aside
        union select runs.queue from runs
        union select live.queue from live
    )
    select known.name, queue.paused_at,
        -- one that may close is closed by the next claim; it is told as closed before
        case when dtsched.breaker_tries(queue.open_until, queue.probe_id, dtsched.now()) is not null then queue.open_until end,
        case when entries.ready + coalesce(aside.jobs, 0) > 20000 then entries.ready + coalesce(aside.jobs, 0)
            else (select count(*) from dtsched.jobs job
                  where job.state = 'ready' and job.id in (
                      select entry.job_id from dtsched.ready entry where entry.queue = known.name
                      union select entry.job_id from dtsched.parked entry where entry.queue = known.name)) end,
        case when (select sum(aside.jobs) from aside) > 20000 then coalesce(aside.jobs, 0)
            else coalesce(aside_exact.jobs, 0) end,
        case when (select sum(later.jobs) from later) > 20000 then coalesce(later.jobs, 0)
            else coalesce(later_exact.jobs, 0) end,
        coalesce(waits.jobs, 0), coalesce(runs.jobs, 0),
        extract(epoch from dtsched.now() - oldest.since)::double precision,
        coalesce(rate.completed, 0) / recent.seconds, coalesce(rate.failed, 0) / recent.seconds,
        coalesce(live.workers, 0), coalesce(live.slots, 0), coalesce(queue.settings, '{}')
    from known
    left join dtsched.queues queue on queue.name = known.name
    left join later on later.queue = known.name
    left join later_exact on later_exact.queue = known.name
    left join waits on waits.queue = known.name
    left join aside on aside.queue = known.name
    left join aside_exact on aside_exact.queue = known.name
    left join runs on runs.queue = known.name
    left join live on live.queue = known.name
    left join rate on rate.queue = known.name
    cross join lateral (
        select count(*) as ready
        from (select from dtsched.ready entry where entry.queue = known.name limit 1000000) entry) entries
    cross join (select extract(epoch from dtsched.now() - dtsched.rates_from())::double precision as seconds) recent
    left join lateral (
        select min(head.since) as since
        from generate_series(1, 20) as lane (priority)
        cross join lateral (
            select greatest(job.created_at, job.run_at) as since
            from dtsched.ready entry
            join dtsched.jobs job on job.id = entry.job_id and job.state = 'ready'
            where entry.queue = known.name and entry.priority = lane.priority
            order by entry.xid, entry.job_id
            limit 1) head) oldest on true
    where known.name is not null and (p_name is null or known.name = p_name)
        and (p_queues is null or known.name = any (p_queues))
    order by known.name
$$;

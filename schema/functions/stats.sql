-- Everything in figures, or what concerns the queues p_queues: {"jobs": {state: n}, "queues": [list_queues()], "workers": {"active", "draining", "lost", "slots",
-- "running", "utilisation"}, "rates": {outcome: attempts a second}, "latency": {"wait": …, "run": …}}. Rates and latencies are of
-- this minute and the four before; a latency is {"p50", "p95", "p99"} in seconds, each the upper bound of the histogram bucket
-- it falls into (see bucket_bounds), null without jobs or over the last bound. Reads none of the finished jobs.
create or replace function dtsched.stats(p_queues text[] default null) returns jsonb
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    with queue as materialized (
        select listed.name, listed.paused_at, listed.open_until, listed.ready, listed.parked, listed.scheduled, listed.blocked, listed.running,
            listed.oldest_ready_seconds, listed.completed_per_second, listed.failed_per_second, listed.workers, listed.slots, listed.settings
        from dtsched.list_queues(null, p_queues) listed
    ),
    worker as materialized (
        select listed.state, listed.slots, listed.running from dtsched.list_workers(null, p_queues) listed
    ),
    ended as materialized (
        select
            coalesce(sum(case event when 'complete' then jobs when 'uncomplete' then -jobs end), 0)::bigint as completed,
            coalesce(sum(case event when 'fail' then jobs when 'unfail' then -jobs end), 0)::bigint as failed,
            coalesce(sum(case event when 'cancel' then jobs when 'uncancel' then -jobs end), 0)::bigint as cancelled
        from dtsched.counted('-infinity', 'infinity') ever
        where p_queues is null or ever.queue = any (p_queues)
    ),
    recent as materialized (
        select minute.event, minute.wait_bucket, minute.run_bucket, minute.jobs
        from dtsched.counted(dtsched.rates_from(), 'infinity') minute
        where p_queues is null or minute.queue = any (p_queues)
    )
    select jsonb_build_object(
        'jobs', jsonb_build_object(
            'blocked', (select coalesce(sum(queue.blocked), 0) from queue),
            'scheduled', (select coalesce(sum(queue.scheduled), 0) from queue),
            'ready', (select coalesce(sum(queue.ready), 0) from queue),
            'running', (select coalesce(sum(queue.running), 0) from queue),
            'completed', ended.completed, 'failed', ended.failed, 'cancelled', ended.cancelled),
        'queues', (select coalesce(jsonb_agg(to_jsonb(queue) order by queue.name), '[]') from queue),
        'workers', (
            select jsonb_build_object(
                'active', count(*) filter (where worker.state = 'active'),
                'draining', count(*) filter (where worker.state = 'draining'),
                'lost', count(*) filter (where worker.state = 'lost'),
                'slots', coalesce(sum(worker.slots) filter (where worker.state <> 'lost'), 0),
                'running', coalesce(sum(worker.running) filter (where worker.state <> 'lost'), 0),
                'utilisation', coalesce(round(sum(least(worker.running, worker.slots)) filter (where worker.state <> 'lost')
                    / nullif(sum(worker.slots) filter (where worker.state <> 'lost'), 0), 3), 0))
            from worker),
        'rates', (
            select jsonb_object_agg(event.name, round(coalesce(total.jobs, 0)
                / extract(epoch from dtsched.now() - dtsched.rates_from()), 3))
            from unnest(array['complete', 'fail', 'cancel', 'retry', 'snooze', 'crash']) event (name)
            left join (select recent.event, sum(recent.jobs) as jobs from recent group by recent.event) total
                on total.event = event.name),
        'latency', jsonb_build_object(
            'wait', dtsched.percentiles(array(
                select coalesce(sum(recent.jobs), 0)::bigint
                from generate_series(1, 19) as bucket (n)
                left join recent on recent.wait_bucket = bucket.n and recent.event = 'complete'
                group by bucket.n order by bucket.n)),
            'run', dtsched.percentiles(array(
                select coalesce(sum(recent.jobs), 0)::bigint
                from generate_series(1, 19) as bucket (n)
                left join recent on recent.run_bucket = bucket.n and recent.event = 'complete'
                group by bucket.n order by bucket.n))))
    from ended
$$;

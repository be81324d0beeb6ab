-- The samples of /metrics: a metric's name as Prometheus has it, its labels, and its value. Counters only ever grow; a restart of
-- a worker resets none of them, because they are kept in the tables. Reads none of the finished jobs.
create or replace function dtsched.metrics() returns table (name text, labels jsonb, value double precision)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    with queue as materialized (
        select listed.name, listed.paused_at, listed.ready, listed.parked, listed.scheduled, listed.blocked, listed.running,
            listed.oldest_ready_seconds
        from dtsched.list_queues() listed
    ),
    worker as materialized (
        select listed.id, listed.name, listed.state, listed.slots, listed.running, listed.info
        from dtsched.list_workers() listed
    ),
    counted as materialized (
        select part.queue, part.task, part.event, part.wait_bucket, part.run_bucket, sum(part.jobs) as jobs,
            sum(part.wait_seconds) as wait_seconds, sum(part.run_seconds) as run_seconds
        from dtsched.counted('-infinity', 'infinity') part
        group by 1, 2, 3, 4, 5
    ),
    histogram as materialized (
        select measured.name, measured.queue, measured.bucket, sum(measured.jobs) as jobs, sum(measured.seconds) as seconds
        from (
            select 'dtsched_job_wait_seconds' as name, counted.queue, counted.wait_bucket as bucket, counted.jobs,
                counted.wait_seconds as seconds
            from counted
            where counted.event in ('complete', 'fail', 'retry') and counted.wait_bucket > 0
            union all
            select 'dtsched_job_run_seconds', counted.queue, counted.run_bucket, counted.jobs, counted.run_seconds
            from counted
            where counted.event in ('complete', 'fail', 'retry') and counted.run_bucket > 0) measured
        group by 1, 2, 3
    )
    select 'dtsched_jobs', jsonb_build_object('queue', queue.name, 'state', held.state), held.jobs::double precision
    from queue
    cross join lateral (values ('ready', queue.ready), ('scheduled', queue.scheduled), ('blocked', queue.blocked),
                               ('running', queue.running)) as held (state, jobs)
    union all
    select 'dtsched_jobs', jsonb_build_object('queue', kept.queue, 'state', kept.state), kept.jobs
    from (select counted.queue, held.state, sum(held.sign * counted.jobs)::double precision as jobs
          from counted
          join (values ('complete', 'completed', 1), ('uncomplete', 'completed', -1), ('fail', 'failed', 1),
                       ('unfail', 'failed', -1), ('cancel', 'cancelled', 1), ('uncancel', 'cancelled', -1))
              as held (event, state, sign) on held.event = counted.event
          group by counted.queue, held.state) kept
    union all
    select 'dtsched_queue_paused', jsonb_build_object('queue', queue.name), (queue.paused_at is not null)::integer
    from queue
    union all
    select 'dtsched_queue_parked_jobs', jsonb_build_object('queue', queue.name), queue.parked from queue
    union all
    select 'dtsched_queue_oldest_ready_seconds', jsonb_build_object('queue', queue.name), coalesce(queue.oldest_ready_seconds, 0)
    from queue
    union all
    select 'dtsched_attempts_total', jsonb_build_object('queue', counted.queue, 'task', counted.task, 'outcome', counted.event),
        sum(counted.jobs)::double precision
    from counted
    where counted.event in ('complete', 'fail', 'cancel', 'retry', 'snooze', 'crash')
    group by counted.queue, counted.task, counted.event
    union all
    select histogram.name || '_bucket',
        jsonb_build_object('queue', histogram.queue, 'le', coalesce((dtsched.bucket_bounds())[bucket.n]::text, '+Inf')),
        coalesce(sum(histogram.jobs) filter (where histogram.bucket <= bucket.n), 0)
    from histogram
    cross join generate_series(1, 19) as bucket (n)
    group by histogram.name, histogram.queue, bucket.n
    union all
    select histogram.name || '_sum', jsonb_build_object('queue', histogram.queue), sum(histogram.seconds)
    from histogram
    group by histogram.name, histogram.queue
    union all
    select histogram.name || '_count', jsonb_build_object('queue', histogram.queue), sum(histogram.jobs)
    from histogram
    group by histogram.name, histogram.queue
    union all
    select 'dtsched_workers', jsonb_build_object('state', state.name), count(worker.id)
    from unnest(array['active', 'draining', 'lost']) state (name)
    left join worker on worker.state = state.name
    group by state.name
    union all
    select 'dtsched_slots', '{}', coalesce(sum(worker.slots), 0) from worker where worker.state <> 'lost'
    union all
    select 'dtsched_slots_taken', '{}', coalesce(sum(worker.running), 0) from worker where worker.state <> 'lost'
    union all
    select 'dtsched_utilisation', '{}',
        coalesce(sum(least(worker.running, worker.slots))::double precision / nullif(sum(worker.slots), 0), 0)
    from worker
    where worker.state <> 'lost'
$$;

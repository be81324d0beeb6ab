-- How long ended jobs are kept, in seconds, 'Infinity' being forever: a row for each queue that has a row of its own, and the
-- one without a queue for all others. results is how long a completed job keeps its result; afterwards it goes on without.
create or replace function dtsched.retention()
returns table (
    queue text,
    completed double precision,
    failed double precision,
    cancelled double precision,
    results double precision
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select named.queue, kept.completed, kept.failed, kept.cancelled, kept.results
    from (
        select null::text as queue, '{}'::jsonb as own
        union all
        select queue.name::text, queue.settings -> 'retention' from dtsched.queues queue) named
    cross join dtsched.pruning
    cross join lateral (
        select
            coalesce(dtsched.retention_seconds(named.own, 'completed'),
                     dtsched.retention_seconds(pruning.retention, 'completed'), 7 * 86400) as completed,
            coalesce(dtsched.retention_seconds(named.own, 'failed'),
                     dtsched.retention_seconds(pruning.retention, 'failed'), 30 * 86400) as failed,
            coalesce(dtsched.retention_seconds(named.own, 'cancelled'),
                     dtsched.retention_seconds(pruning.retention, 'cancelled'), 30 * 86400) as cancelled,
            coalesce(dtsched.retention_seconds(named.own, 'results'),
                     dtsched.retention_seconds(pruning.retention, 'results'), 'Infinity') as results) kept
$$;

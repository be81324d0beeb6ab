-- Verifies what foreign keys would: one row for each thing that is wrong, none when all is well. One statement, so it reads
-- one snapshot and may run beside live workers. Reads every unfinished job.
create or replace function dtsched.check()
returns table (invariant text, job_id bigint, detail text)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_nestloop = off
as $$
    select 'every index is valid', null::bigint, format('dtsched.%I: drop it, or REINDEX INDEX CONCURRENTLY', found.relname)
    from pg_catalog.pg_index index
    join pg_catalog.pg_class found on found.oid = index.indexrelid
    where found.relnamespace = 'dtsched'::regnamespace and found.relkind = 'i' and not index.indisvalid
        and not exists (select from pg_stat_progress_create_index making where making.index_relid = index.indexrelid)
    union all
    select 'a ready job can be claimed', job.id, 'in neither ready nor parked'
    from dtsched.jobs job
    where job.state = 'ready'
        and not exists (select from dtsched.ready entry where entry.job_id = job.id and entry.queue = job.queue
                        and entry.limit_key is null)
        and not exists (select from dtsched.parked entry
                        where entry.job_id = job.id and entry.queue = job.queue
                            and case entry.reason when 'limit' then entry.limit_key = job.limit_key
                                else entry.task = job.task end)
        and not (job.deadline <= dtsched.now()) is true  -- a claim has left it to expire()
    union all
    select 'a limit key with a free seat has a turn', key.job_id, format('%s jobs of %s wait in queue %s', key.jobs, key.limit_key, key.queue)
    from (select entry.queue, entry.limit_key, min(entry.job_id) as job_id, count(*) as jobs
          from dtsched.parked entry
          join dtsched.jobs job on job.id = entry.job_id and job.state = 'ready'
          where entry.reason = 'limit'
          group by entry.queue, entry.limit_key) key
    left join lateral dtsched.seats(key.queue, array[key.limit_key], dtsched.now()) room on true
    where (room.limit_key is null or room.seats > 0)
        and not exists (select from dtsched.ready entry where entry.queue = key.queue and entry.limit_key = key.limit_key)
        and not exists (select from dtsched.wakes wake where wake.queue = key.queue and wake.limit_key = key.limit_key)
    union all
    select 'a job ends at its deadline', job.id, 'not in deadlines'
    from dtsched.jobs job
    where job.deadline is not null and job.state in ('blocked', 'scheduled', 'ready', 'running')
        and not exists (
            select from dtsched.deadlines entry where entry.job_id = job.id and entry.deadline = job.deadline)
    union all
    select 'a scheduled job will come due', job.id, 'not in scheduled for its run_at'
    from dtsched.jobs job
    where job.state = 'scheduled'
        and not exists (select from dtsched.scheduled entry where entry.job_id = job.id and entry.run_at = job.run_at)
    union all
    select 'a blocked job counts its open parents', job.id,
        format('waits for %s, has %s edges', coalesce(waiting.waiting::text, 'nothing'), edges.count)
    from dtsched.jobs job
    left join dtsched.blocked waiting on waiting.job_id = job.id
    left join (select edge.child_id, count(*) from dtsched.dependencies edge group by edge.child_id) edges
        on edges.child_id = job.id
    where job.state = 'blocked' and (waiting.waiting is null or waiting.waiting is distinct from edges.count)
    union all
    select 'only a blocked job waits', waiting.job_id, coalesce('its state is ' || job.state, 'there is no such job')
    from dtsched.blocked waiting
    left join dtsched.jobs job on job.id = waiting.job_id
    where job.state is distinct from 'blocked'
    union all
    select 'a job waits for unfinished parents only', edge.child_id,
        format('for job %s, %s', edge.parent_id, coalesce('state ' || parent.state, 'which does not exist'))
    from dtsched.dependencies edge
    join dtsched.blocked waiting on waiting.job_id = edge.child_id
    left join dtsched.jobs parent on parent.id = edge.parent_id
    where parent.state is null or parent.state in ('completed', 'failed', 'cancelled')
    union all
    select 'jobs do not wait for each other in a circle', circle.ids[1], format('circle: %s', array_to_string(circle.ids, ', '))
    from (select dtsched.circle_of(array_agg(edge.child_id), array_agg(edge.parent_id)) as ids
          from dtsched.dependencies edge
          join dtsched.blocked waiting on waiting.job_id = edge.child_id
          join dtsched.blocked parent on parent.job_id = edge.parent_id) circle
    where circle.ids is not null
    union all
    select 'what a parent has cancelled is cancelled', kept.child_id,
        format('by job %s, %s', kept.parent_id, coalesce('state ' || job.state, 'no such job'))
    from (select kept.child_id, min(kept.parent_id) as parent_id from dtsched.cancelled_by kept group by kept.child_id) kept
    left join dtsched.jobs job on job.id = kept.child_id
    where job.state is distinct from 'cancelled' or job.skipped
    union all
    select 'a job belongs to a workflow that exists', job.id, format('workflow %s', job.workflow_id)
    from dtsched.jobs job
    where job.workflow_id is not null
        and not exists (select from dtsched.workflows workflow where workflow.id = job.workflow_id)
    union all
    select 'a running job has exactly one lease', job.id, format('it has %s', coalesce(held.count, 0))
    from dtsched.jobs job
    left join (select lease.job_id, count(*) from dtsched.leases lease group by lease.job_id) held on held.job_id = job.id
    where job.state = 'running' and held.count is distinct from 1
    union all
    select 'a lease belongs to a running job', lease.job_id,
        format('lease %s, %s', lease.id, coalesce('state ' || job.state, 'no such job'))
    from dtsched.leases lease
    left join dtsched.jobs job on job.id = lease.job_id
    where job.state is distinct from 'running'
    union all
    select 'a lease of a queue with a limit is counted', lease.job_id, format('lease %s of queue %s', lease.id, lease.queue)
    from dtsched.leases lease
    join dtsched.queues queue on queue.name = lease.queue
    where queue.settings ? 'limit' and not lease.counted and lease.id <> all (queue.uncounted)
    union all
    select 'an unfinished job holds its key', job.id, format('key %s', job.key)
    from dtsched.jobs job
    where job.key is not null and job.state in ('blocked', 'scheduled', 'ready', 'running')
        and not exists (select from dtsched.keys taken where taken.key = job.key and taken.job_id = job.id)
        and not exists (select from dtsched.leases lease where lease.job_id = job.id and lease.gave_up_key)
    union all
    select 'a job holds its key for as long as it says', job.id, format('key %s until %s', job.key, job.key_until)
    from dtsched.jobs job
    where job.key is not null and job.key_until > dtsched.now()
        and not exists (
            select from dtsched.keys taken
            where taken.key = job.key and taken.job_id = job.id and taken.until = job.key_until)
    union all
    select 'a key belongs to an unfinished job, or to one that keeps it', taken.job_id, format('key %s', taken.key)
    from dtsched.keys taken
    left join dtsched.jobs job on job.id = taken.job_id
    where job.state is null and (taken.until is null or taken.until > dtsched.now())
        or job.state in ('completed', 'failed', 'cancelled') and taken.until is null
    union all
    select 'only an attempt that goes on has given its key up', lease.job_id,
        format('lease %s holds the key %s', lease.id, job.key)
    from dtsched.leases lease
    join dtsched.jobs job on job.id = lease.job_id
    join dtsched.keys taken on taken.key = job.key and taken.job_id = job.id
    where lease.gave_up_key
    union all
    select 'a job has finished_at exactly when it has ended', job.id, 'state ' || job.state
    from dtsched.jobs job
    where (job.finished_at is not null) <> (job.state in ('completed', 'failed', 'cancelled'))
    union all
    select 'a failed or cancelled job can be found', coalesce(job.id, ended.job_id),
        format('state %s, listed as %s', coalesce(job.state, 'missing'), coalesce(ended.state, 'none'))
    from (select job.id, job.state from dtsched.jobs job where job.state in ('failed', 'cancelled')) job
    full join dtsched.unsuccessful ended on ended.job_id = job.id and ended.state = job.state
    where job.id is null or ended.job_id is null
    union all
    select 'a log line belongs to a job', logged.job_id, 'there is no such job'
    from dtsched.job_logs logged
    where logged.line = 1 and not exists (select from dtsched.jobs job where job.id = logged.job_id)
    union all
    select 'the counts are those of the jobs', null, format('%s: counted %s, there are %s', state.name, counted.jobs, there.jobs)
    from (values ('completed', 'complete', 'uncomplete'), ('failed', 'fail', 'unfail'), ('cancelled', 'cancel', 'uncancel'))
        as state (name, came, went)
    cross join lateral (
        select coalesce(sum(case part.event when state.came then part.jobs when state.went then -part.jobs end), 0) as jobs
        from dtsched.counted('-infinity', 'infinity') part) counted
    cross join lateral (select count(*) as jobs from dtsched.jobs job where job.state = state.name) there
    where counted.jobs <> there.jobs
    union all
    select 'a wait whose event was emitted is over or due', wait.job_id, format('event %s', wait.event)
    from dtsched.event_waits wait
    join dtsched.events event on event.name = wait.event
    where wait.woken_at is null and not event.due
    union all
    select 'a job parked for an event can be woken', job.id, format('event %s', step.event)
    from dtsched.steps step
    join dtsched.jobs job on job.id = step.job_id and job.state = 'scheduled' and job.run_at = step.until
    where step.kind = 'event' and step.state = 'waiting'
        and not exists (select from dtsched.event_waits wait where wait.event = step.event and wait.job_id = step.job_id)
    union all
    select 'the last tick of a schedule is noted', null, format('schedule %s, tick %s', schedule.name, schedule.last_tick)
    from dtsched.schedules schedule
    where schedule.last_tick is not null
        and not exists (select from dtsched.ticks noted
                        where noted.schedule = schedule.name and noted.tick = schedule.last_tick)
    union all
    select 'what is kept of a job has its job', kept.job_id, 'there is no such job, but rows in ' || kept.place
    from (
        select stored.job_id, 'results' as place from dtsched.results stored
        union all select attempt.job_id, 'attempts' from dtsched.attempts attempt
        union all select step.job_id, 'steps' from dtsched.steps step
        union all select kept.child_id, 'cancelled_by' from dtsched.cancelled_by kept
        union all select kept.parent_id, 'cancelled_by' from dtsched.cancelled_by kept) kept
    where not exists (select from dtsched.jobs job where job.id = kept.job_id)
    union all
    select 'a result that has expired is gone', job.id, format('%s, expired %s', job.state, job.result_expired_at)
    from dtsched.jobs job
    where job.result_expired_at is not null
        and (job.state <> 'completed' or job.result is not null
             or exists (select from dtsched.results stored where stored.job_id = job.id))
    union all
    select 'a job is looked at when its retention has passed', ended.id, coalesce(format('looked at again %s, past it %s',
        looked_at.due_at, ended.gone_at), 'never looked at')
    from (
        select job.id, dtsched.expiry(job.finished_at, case job.state
            when 'completed' then coalesce(own.completed, fallback.completed)
            when 'failed' then coalesce(own.failed, fallback.failed)
            else coalesce(own.cancelled, fallback.cancelled) end) as gone_at
        from dtsched.jobs job
        left join dtsched.retention() own on own.queue = job.queue::text
        cross join (select * from dtsched.retention() rule where rule.queue is null) fallback
        where job.state in ('completed', 'failed', 'cancelled')) ended
    left join dtsched.prunable looked_at on looked_at.chunk = ended.id / 10000
    where (select pruning.rules = dtsched.retention_digest() from dtsched.pruning)  -- once, and not for each job
        -- newer ones are found by the next prune()
        and ended.id / 10000 <= (
            select max(known.chunk)
            from dtsched.prunable known
            where known.chunk <= (select ids.last_value from dtsched.job_id_seq ids) / 10000)
        -- a day for what could be seen only long after its id was given out
        and looked_at.due_at is distinct from least(looked_at.due_at, ended.gone_at + interval '1 day 1 minute')
        or looked_at.chunk is null and ended.id / 10000 <= (select max(known.chunk) from dtsched.prunable known)
$$;

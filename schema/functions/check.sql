-- Verifies what foreign keys would: one row for each thing that is wrong, none when all is well. One statement, so it reads
-- one snapshot and may run beside live workers. Reads every unfinished job.
create or replace function dtsched.check()
returns table (invariant text, job_id bigint, detail text)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set enable_nestloop = off
as $$
    select 'a ready job can be claimed', job.id, 'in neither ready nor parked'
    from dtsched.jobs job
    where job.state = 'ready'
        and not exists (select from dtsched.ready entry where entry.job_id = job.id and entry.queue = job.queue)
        and not exists (select from dtsched.parked entry where entry.job_id = job.id)
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
    select 'an unfinished job holds its key', job.id, format('key %s', job.key)
    from dtsched.jobs job
    where job.key is not null and job.state in ('blocked', 'scheduled', 'ready', 'running')
        and not exists (select from dtsched.keys taken where taken.key = job.key and taken.job_id = job.id)
    union all
    select 'a key belongs to an unfinished job', taken.job_id, format('key %s', taken.key)
    from dtsched.keys taken
    left join dtsched.jobs job on job.id = taken.job_id
    where job.state is null or job.state not in ('blocked', 'scheduled', 'ready', 'running')
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
    select 'the counts are those of the jobs', null, format('%s: counted %s, there are %s', state.name, counted.jobs, there.jobs)
    from (values ('completed', 'complete', 'uncomplete'), ('failed', 'fail', 'unfail'), ('cancelled', 'cancel', 'uncancel'))
        as state (name, came, went)
    cross join lateral (
        select coalesce(sum(case part.event when state.came then part.jobs when state.went then -part.jobs end), 0) as jobs
        from dtsched.counted('-infinity', 'infinity') part) counted
    cross join lateral (select count(*) as jobs from dtsched.jobs job where job.state = state.name) there
    where counted.jobs <> there.jobs
    union all
    select 'what is kept of a job has its job', kept.job_id, 'there is no such job, but rows in ' || kept.place
    from (
        select stored.job_id, 'results' as place from dtsched.results stored
        union all select attempt.job_id, 'attempts' from dtsched.attempts attempt) kept
    where not exists (select from dtsched.jobs job where job.id = kept.job_id)
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
    where (select pruning.rules from dtsched.pruning) = dtsched.retention_digest()
        -- a day for what could be seen only long after its id was given out
        and looked_at.due_at is distinct from least(looked_at.due_at, ended.gone_at + interval '1 day 1 minute')
        or looked_at.chunk is null and ended.id / 10000 <= (select max(known.chunk) from dtsched.prunable known)
$$;

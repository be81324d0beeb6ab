-- Why a job is where it is: one row a reason, the decisive one first; no row when there is no such job. code is one of
-- parents, later, sleep, event, due, paused, no_worker, unknown_task, breaker, limit, rate, busy, behind, next, cancelling,
-- silent_worker, running, completed, failed, cancelled.
create or replace function dtsched.why(p_id bigint) returns table (code text, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_job record;
    v_worker record;
    v_now timestamptz := dtsched.now();
begin
    select job.id, job.state, job.queue::text as queue, job.task::text as task, job.priority::smallint as priority, job.run_at,
        job.attempt, job.max_attempts, job.depends_on, job.error, job.worker_id, job.started_at, job.finished_at, job.limit_key,
        job.deadline
    into v_job
    from dtsched.jobs job
    where job.id = p_id;
    if not found then
        return;
    end if;
    if v_job.state in ('blocked', 'scheduled', 'ready') and v_job.deadline <= v_now then
        return query select 'deadline', dtsched.why_deadline(v_job.deadline, null, v_now);
        return;
    end if;
    case v_job.state
        when 'blocked' then
            return query
            select 'parents', format('it waits for %s: %s%s',
                case count(*) when 1 then 'a job' else count(*) || ' jobs' end,
                string_agg(format('%s (%s)', parent.id, parent.state), ', ' order by parent.id) filter (where parent.n <= 10),
                case when count(*) > 10 then ', …' else '' end)
            from (select parent.id, parent.state, row_number() over (order by parent.id) as n
                  from unnest(v_job.depends_on) named (id)
                  join dtsched.jobs parent on parent.id = named.id
                  where parent.state not in ('completed', 'failed', 'cancelled')) parent
            having count(*) > 0;
            if v_job.run_at > v_now then
                return query select 'later', format('and it is not to run before %s', date_trunc('second', v_job.run_at));
            end if;
        when 'scheduled' then
            return query
            select case step.kind when 'event' then 'event' else 'sleep' end, case
                when step.kind = 'sleep' then format('it sleeps until %s (%s)', date_trunc('second', step.until), step.name)
                when step.until >= '9999-12-31 00:00Z' then format('it waits for event %s', step.event)
                else format('it waits for event %s until %s', step.event, date_trunc('second', step.until)) end
            from dtsched.steps step
            where step.job_id = p_id and step.state = 'waiting' and step.until = v_job.run_at and step.until > v_now
            order by step.begun_at
            limit 1;
            if found then
                null;
            elsif v_job.run_at > v_now then
                return query select 'later', format('it is to run at %s, in %s%s', date_trunc('second', v_job.run_at),
                    date_trunc('second', v_job.run_at - v_now),
                    case when v_job.attempt > 0 then format('; attempt %s of %s ended with: %s', v_job.attempt,
                        v_job.max_attempts, coalesce(v_job.error, 'no error')) else '' end);
            else
                return query select 'due', format('it has been due since %s; %s', date_trunc('second', v_job.run_at),
                    case when exists (select from dtsched.workers worker where worker.expires_at > v_now)
                    then 'workers make such jobs ready within a second or two'
                    else 'no worker is alive to make it ready: start one' end);
            end if;
        when 'ready' then
            return query select * from dtsched.why_ready(v_job.id, v_job.queue, v_job.task, v_job.priority, v_job.limit_key);
        when 'running' then
            select worker.name, worker.expires_at, worker.lease, lease.cancel_requested_at
            into v_worker
            from dtsched.leases lease
            left join dtsched.workers worker on worker.id = lease.worker_id
            where lease.worker_id = v_job.worker_id and lease.job_id = v_job.id;
            if v_worker.cancel_requested_at is not null then
                return query select 'cancelling', format('it was told to stop at %s', date_trunc('second', v_worker.cancel_requested_at));
            end if;
            if v_worker.expires_at is null or v_worker.expires_at < v_now then
                return query select 'silent_worker', format('its worker %s has fallen silent; another one takes the job back',
                    coalesce(v_worker.name, v_job.worker_id::text));
            end if;
            return query select 'running', format('attempt %s of %s has run for %s on worker %s', v_job.attempt,
                v_job.max_attempts, date_trunc('second', v_now - v_job.started_at), coalesce(v_worker.name, v_job.worker_id::text));
        else
            return query select v_job.state, format('it ended at %s%s', date_trunc('second', v_job.finished_at),
                case when v_job.error is not null then ': ' || v_job.error else '' end);
    end case;
    if v_job.state in ('blocked', 'scheduled', 'ready') and v_job.deadline is not null then
        return query select 'deadline', dtsched.why_deadline(v_job.deadline, v_job.run_at, v_now);
    end if;
end $$;

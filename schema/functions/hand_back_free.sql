-- hand_back() of leases whose jobs the caller has locked. Waits for what hangs on a job that ends.
-- Locks: end_unsuccessful's.
create or replace function dtsched.hand_back_free(p_leases bigint[], p_started boolean, p_reason text)
returns table (job_id bigint, lease_id bigint, state text)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_jobs bigint[];
    v_leases bigint[];
    v_states text[];
    v_limit_keys text[];
    v_limited bigint[];  -- that are ready
begin
    with gone as (
        delete from dtsched.leases lease
        where lease.id = any (p_leases)
        returning lease.id, lease.job_id, lease.worker_id, lease.limit_key,
            lease.cancel_requested_at is not null or lease.gave_up_key as stopped
    ),
    decided as materialized (
        select gone.id as lease_id, gone.job_id, gone.worker_id, job.attempt, job.started_at,
            case
                when gone.stopped then 'cancelled'
                when not p_started then 'ready'
                when job.attempt >= job.max_attempts or job.crash_count + 1 >= dtsched.max_crashes(job.task) then 'failed'
                else 'ready'
            end as state
        from gone
        join dtsched.jobs job on job.id = gone.job_id
        order by gone.job_id
    ),
    changed as (
        update dtsched.jobs job
        set state = case when decided.state = 'ready' then 'ready' else job.state end,  -- the others: end_unsuccessful
            attempt = job.attempt - (not p_started)::integer,
            crash_count = job.crash_count + p_started::integer
        from decided
        where job.id = decided.job_id and job.state = 'running'
        returning job.id, job.queue, job.task, job.priority, job.limit_key, decided.state, decided.lease_id
    ),
    now_ready as (
        insert into dtsched.ready (queue, priority, job_id)
        select changed.queue, changed.priority, changed.id
        from changed
        where changed.state = 'ready' and changed.limit_key is null
    ),
    tallied as (
        insert into dtsched.tallies (queue, task, event, jobs)
        select changed.queue, changed.task, 'crash', count(*) from changed where p_started group by changed.queue, changed.task
    ),
    remembered as (
        insert into dtsched.attempts
            (job_id, attempt, lease_id, worker_id, outcome, error_type, message, started_at, finished_at)
        select decided.job_id, decided.attempt, decided.lease_id, decided.worker_id, 'crash', 'WorkerLost', p_reason,
            decided.started_at, dtsched.now()
        from decided
        where p_started
    )
    select array_agg(changed.id), array_agg(changed.lease_id), array_agg(changed.state),
        array(select gone.limit_key from gone where gone.limit_key is not null),
        array_agg(changed.id) filter (where changed.state = 'ready' and changed.limit_key is not null)
    into v_jobs, v_leases, v_states, v_limit_keys, v_limited
    from changed;
    if v_jobs is null then
        if v_limit_keys <> '{}' then
            perform dtsched.free_seats(v_limit_keys);
        end if;
        return;
    end if;
    if v_limited is not null then
        perform dtsched.park_limited(v_limited);
    end if;
    perform dtsched.tell_feed(v_jobs, 'handed_back', 'ready');
    if 'failed' = any (v_states) then
        perform dtsched.end_unsuccessful(
            array(select id from unnest(v_jobs, v_states) as job (id, state) where job.state = 'failed'), 'failed',
            'WorkerLost: ' || p_reason);
    end if;
    if 'cancelled' = any (v_states) then
        perform dtsched.end_unsuccessful(
            array(select id from unnest(v_jobs, v_states) as job (id, state) where job.state = 'cancelled'), 'cancelled',
            'cancelled while it ran');
    end if;
    if v_limit_keys <> '{}' then
        perform dtsched.free_seats(v_limit_keys);
    end if;
    if p_started then
        perform dtsched.note_failures(v_jobs);
    end if;
    perform dtsched.free_room(v_jobs);
    return query select * from unnest(v_jobs, v_leases, v_states);
end $$;

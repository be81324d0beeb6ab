-- The half of finish() for attempts that did not simply succeed: retry, fail, snooze, cancel (see there). A retry
-- that would begin after the job's deadline fails instead, and one whose process died (ProcessDied) too often.
create or replace function dtsched.finish_others(p_worker uuid, p_others jsonb) returns setof bigint
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off  -- leases and jobs in the order of their ids
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_given bigint[];
    v_others jsonb;  -- by lease
    v_leases bigint[];
    v_keys text[];
    v_keyed bigint[];
    v_unsuccessful bigint[];
    v_limit_keys text[];
    v_failed bigint[];
    v_waiting bigint[];
    v_limited bigint[];  -- that are ready
    v_retried bigint[];
    v_snoozed bigint[];
    v_jobs bigint[];
begin
    if jsonb_path_exists(p_others, 'strict $[*] ? (@.type() != "object")') then
        raise exception 'finish() takes objects as others, like {"lease": 17, "outcome": "retry"}' using errcode = 'JQ001';
    end if;
    select array_agg(given.lease), jsonb_object_agg(given.lease, given.other)
    into v_given, v_others
    from (select (other ->> 'lease')::bigint as lease, other from jsonb_array_elements(p_others) other) given
    where given.lease is not null;

    with gone as (
        delete from dtsched.leases lease
        where lease.id = any (v_given) and (lease.worker_id = p_worker) is true and lease.secret is null
        returning lease.id as lease_id, lease.job_id, lease.limit_key, lease.cancel_requested_at, lease.gave_up_key
    ),
    ended as (  -- looked up in an object: a join would compare each with each
        select gone.lease_id, gone.job_id,
            gone.cancel_requested_at is not null or gone.gave_up_key and other.outcome in ('retry', 'snooze') as stopped,
            other.outcome, other.delay, other.error, other.wait
        from gone
        cross join lateral jsonb_to_record(v_others -> gone.lease_id::text)
            as other (outcome text, delay double precision, error jsonb, wait text)
    ),
    decided as materialized (
        select
            ended.lease_id,
            ended.job_id,
            case when ended.error ->> 'type' = 'timeout' and job.deadline <= dtsched.now()
                 then jsonb_build_object('type', 'deadline', 'message', 'still running at its deadline')
                 else ended.error end as error,
            ending.crashed,
            case when ended.stopped or ended.outcome <> 'retry' or job.attempt >= job.max_attempts then ''
                 when ending.too_often then format(' (%s crashes, no more are allowed)', job.crash_count + 1)
                 when ending.too_late and job.deadline > dtsched.now() then ' (no time for another attempt before its deadline)'
                 else '' end as remark,
            case
                when ended.stopped or ended.outcome = 'cancel' then 'cancel'
                when ended.outcome in ('retry', 'snooze', 'fail') then ended.outcome
                else 'fail'
            end as outcome,
            case
                when ended.stopped or ended.outcome = 'cancel' then 'cancelled'
                when ended.outcome = 'snooze' and parked.until > dtsched.now() then 'scheduled'
                when ended.outcome = 'snooze' and delayed.seconds > 0 then 'scheduled'
                when ended.outcome = 'snooze' then 'ready'
                when ended.outcome = 'retry' and (ending.too_late or ending.too_often) then 'failed'
                when ended.outcome = 'retry' and job.attempt < job.max_attempts and delayed.seconds > 0 then 'scheduled'
                when ended.outcome = 'retry' and job.attempt < job.max_attempts then 'ready'
                else 'failed'
            end as state,
            coalesce(parked.until, dtsched.now() + make_interval(secs => delayed.seconds)) as run_at,
            parked.until is not null as waits,
            coalesce(job.run_at, job.created_at) as due_at,
            job.started_at,
            job.attempt
        from ended
        join dtsched.jobs job on job.id = ended.job_id
        left join dtsched.steps parked on ended.wait is not null
            and parked.job_id = ended.job_id and parked.name = ended.wait and parked.state = 'waiting'
        cross join lateral (
            select greatest(0, least(coalesce(ended.delay, case ended.outcome
                when 'snooze' then 0
                else dtsched.retry_delay(job.backoff, job.attempt) end), 366 * 86400)) as seconds) delayed
        cross join lateral (
            select (job.deadline <= dtsched.now() + make_interval(secs => delayed.seconds)) is true as too_late,
                died.crashed,
                died.crashed and job.crash_count + 1 >= dtsched.max_crashes(job.task) as too_often
            from (select (ended.error ->> 'type' = 'ProcessDied') is true as crashed) died) ending
        order by ended.job_id
    ),
    changed as (
        update dtsched.jobs job
        set state = decided.state,
            run_at = case when decided.state = 'scheduled' then decided.run_at else job.run_at end,
            attempt = job.attempt - (decided.outcome = 'snooze')::integer,
            crash_count = job.crash_count + decided.crashed::integer,
            finished_at = case when decided.state in ('failed', 'cancelled') then dtsched.now() end,
            error = left(coalesce(decided.error ->> 'type' || ': ' || (decided.error ->> 'message'),
                                  case decided.state when 'cancelled' then 'cancelled while it ran' end),
                         500 - char_length(decided.remark)) || decided.remark
        from decided
        where job.id = decided.job_id and job.state = 'running'
        returning job.id, job.queue, job.task, job.priority, job.state, job.run_at, job.key, job.limit_key, decided.outcome,
            decided.due_at, job.started_at, decided.waits
    ),
    now_ready as (
        insert into dtsched.ready (queue, priority, job_id)
        select changed.queue, changed.priority, changed.id
        from changed
        where changed.state = 'ready' and changed.limit_key is null
    ),
    now_scheduled as (
        insert into dtsched.scheduled (run_at, job_id, queue)
        select changed.run_at, changed.id, changed.queue from changed where changed.state = 'scheduled'
        on conflict on constraint scheduled_pkey do update set queue = excluded.queue  -- an old entry, which fits again
    ),
    tallied as (
        insert into dtsched.tallies (queue, task, event, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
        select took.queue, took.task, took.outcome, dtsched.bucket(took.wait_seconds), dtsched.bucket(took.run_seconds),
            count(*), coalesce(sum(took.wait_seconds), 0), coalesce(sum(took.run_seconds), 0)
        from (select changed.queue, changed.task, changed.outcome,
                  extract(epoch from changed.started_at - changed.due_at)::double precision as wait_seconds,
                  extract(epoch from dtsched.now() - changed.started_at)::double precision as run_seconds
              from changed
              where changed.state in ('ready', 'scheduled')) took  -- the others: note_unsuccessful
        group by 1, 2, 3, 4, 5
    ),
    remembered as (
        insert into dtsched.attempts
            (job_id, attempt, lease_id, worker_id, outcome, error_type, message, traceback, started_at, finished_at)
        select decided.job_id, decided.attempt, decided.lease_id, p_worker,
            case decided.state when 'failed' then 'fail' else decided.outcome end,
            left(decided.error ->> 'type', 200), left(decided.error ->> 'message', 10000),
            left(decided.error ->> 'traceback', 65536), decided.started_at, dtsched.now()
        from decided
        where decided.outcome <> 'snooze'
    )
    select
        array(select gone.lease_id from gone),
        array_agg(changed.id) filter (where changed.state in ('failed', 'cancelled')),
        array_agg(changed.id) filter (where changed.state in ('failed', 'cancelled') and changed.key is not null),
        array_agg(changed.key::text) filter (where changed.state in ('failed', 'cancelled') and changed.key is not null),
        array(select gone.limit_key from gone where gone.limit_key is not null),
        array_agg(changed.id) filter (where changed.outcome in ('retry', 'fail')),
        array_agg(changed.id) filter (where changed.waits and changed.state = 'scheduled'),
        array(select gone.job_id from gone),
        array_agg(changed.id) filter (where changed.state = 'ready' and changed.limit_key is not null),
        array_agg(changed.id) filter (where changed.state in ('ready', 'scheduled') and changed.outcome = 'retry'),
        array_agg(changed.id) filter (where changed.state in ('ready', 'scheduled') and changed.outcome = 'snooze')
    into v_leases, v_unsuccessful, v_keyed, v_keys, v_limit_keys, v_failed, v_waiting, v_jobs, v_limited, v_retried, v_snoozed
    from changed;
    if v_retried is not null then
        perform dtsched.tell_feed(v_retried, 'retrying');
    end if;
    if v_snoozed is not null then
        perform dtsched.tell_feed(v_snoozed, 'snoozed');
    end if;

    if v_limited is not null then
        perform dtsched.park_limited(v_limited);
    end if;
    if v_waiting is not null then  -- an event that was emitted since the handler asked for it; see deliver_event
        perform dtsched.wake_waiting(v_waiting);
    end if;
    if v_keys is not null then
        perform dtsched.free_keys(v_keys, v_keyed);
    end if;
    if v_unsuccessful is not null then
        perform dtsched.note_unsuccessful(v_unsuccessful);
        perform dtsched.cancel_descendants(v_unsuccessful);
    end if;
    if v_limit_keys <> '{}' then
        perform dtsched.free_seats(v_limit_keys);
    end if;
    if v_failed is not null then
        perform dtsched.note_failures(v_failed);
    end if;
    perform dtsched.free_room(v_jobs);
    return query select unnest(v_leases);
end $$;

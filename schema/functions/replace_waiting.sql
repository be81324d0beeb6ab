-- Gives jobs that wait the values of those that were submitted with their keys, as if they had been submitted so, and with all
-- their attempts before them. They keep their ids and what they depend on, and forget the steps
-- that they remembered. A job that was ready and still is keeps its
-- place, unless its queue, task or limit key is another, its priority has risen or its deadline had passed; an entry that no longer fits stays, and is
-- dropped by whoever meets it. The caller holds the rows of the jobs. Locks: the keys, and entries of scheduled.
create or replace function dtsched.replace_waiting(p_ids bigint[], p_jobs jsonb[], p_untils timestamptz[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_now constant timestamptz := dtsched.now();
begin
    update dtsched.keys taken
    set until = given.until
    from unnest(p_ids, p_jobs, p_untils) as given (id, job, until)
    where taken.key = given.job ->> 'key' and taken.job_id = given.id and taken.until is distinct from given.until;

    with given as materialized (
        select job.id, job.state, job.queue, job.task, job.priority, job.limit_key, job.deadline, given.job as new, given.until,
            coalesce((given.job ->> 'run_at')::timestamptz,
                     v_now + make_interval(secs => (given.job ->> 'delay')::double precision), v_now) as run_at,
            task.settings as of_task, queue.settings as of_queue
        from unnest(p_ids, p_jobs, p_untils) as given (id, job, until)
        join dtsched.jobs job on job.id = given.id
        left join dtsched.tasks task on task.name = given.job ->> 'task'
        left join dtsched.queues queue on queue.name = coalesce(given.job ->> 'queue', task.settings ->> 'queue', 'default')
    ),
    changed as (
        update dtsched.jobs job
        set state = case
                when given.state = 'blocked' then 'blocked'
                when given.run_at > v_now then 'scheduled'
                else 'ready'
            end,
            run_at = case when given.state = 'ready' and given.run_at <= v_now then job.run_at else given.run_at end,
            attempt = 0,
            crash_count = 0,
            worker_id = null,
            error = null,
            progress = null,
            started_at = null,
            task = given.new ->> 'task',
            args = coalesce(nullif(given.new -> 'args', 'null'), '{}'),
            queue = coalesce(given.new ->> 'queue', given.of_task ->> 'queue', 'default'),
            priority = coalesce(given.new ->> 'priority', given.of_task ->> 'priority', '5')::smallint,
            max_attempts = coalesce(given.new ->> 'max_attempts', given.of_task ->> 'max_attempts',
                                    given.of_queue ->> 'max_attempts', '5')::integer,
            timeout = make_interval(secs => (given.new ->> 'timeout')::double precision),
            limit_key = given.new ->> 'limit_key',
            tags = case when jsonb_typeof(given.new -> 'tags') = 'array'
                        then array(select tag from jsonb_array_elements_text(given.new -> 'tags') tag) else '{}' end,
            backoff = coalesce(nullif(given.new -> 'backoff', 'null'), given.of_task -> 'backoff'),
            deadline = coalesce((given.new ->> 'deadline')::timestamptz,
                                v_now + make_interval(secs => (given.new ->> 'expires_in')::double precision)),
            workflow_id = coalesce((given.new ->> 'workflow')::bigint, job.workflow_id),
            correlation_id = given.new ->> 'correlation_id',
            key_until = given.until
        from given
        where job.id = given.id
        returning job.id, job.queue, job.priority, job.state, job.run_at,
            given.state <> 'ready' or given.queue <> job.queue or given.task <> job.task or given.priority < job.priority
                or given.limit_key is distinct from job.limit_key
                or (given.deadline <= v_now) is true as moves  -- a claim may have dropped its entry
    ),
    later as (
        insert into dtsched.scheduled (run_at, job_id, queue)
        select changed.run_at, changed.id, changed.queue from changed where changed.state = 'scheduled'
        on conflict on constraint scheduled_pkey do update set queue = excluded.queue  -- an old entry, which fits again
    ),
    waits as (
        update dtsched.blocked waiting
        set queue = changed.queue
        from changed
        where waiting.job_id = changed.id and changed.state = 'blocked' and waiting.queue is distinct from changed.queue
    )
    insert into dtsched.ready (queue, priority, job_id)
    select changed.queue, changed.priority, changed.id
    from changed
    where changed.state = 'ready' and changed.moves
    on conflict do nothing;  -- an entry of this very transaction, which fits again
    insert into dtsched.deadlines (deadline, job_id)
    select job.deadline, job.id from dtsched.jobs job where job.id = any (p_ids) and job.deadline is not null
    on conflict do nothing;
    perform dtsched.drop_steps(p_ids);
end $$;

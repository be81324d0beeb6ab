-- Submits jobs that differ by their args alone, all or none, and returns their ids in order: half of submit_many()'s time.
-- p_job is one of them as submit_many() takes it, without args, and without what each job has for itself: key (with key_for and
-- on_conflict) and depends_on (with on_parent_failure). p_args is an array of their args. p_check_tasks and p_queues are submit_many()'s.
-- What holds for one of them holds for all and is looked up once: settings of the task and the queue, times, and the limits that
-- the domains of jobs guard, which is why variables have their types.
-- Raises what submit_many() raises, and JQ001 for a field of p_job that differs from job to job. Locks: none that submitters share.
create or replace function dtsched.submit_alike(
    p_job jsonb, p_args jsonb, p_check_tasks boolean default true, p_queues text[] default null) returns bigint[]
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_own text;
    v_ids bigint[];
    v_task jsonb;
    v_settings jsonb;
    v_now constant timestamptz := dtsched.now();
    v_name dtsched.name;
    v_queue dtsched.name;
    v_priority dtsched.priority;
    v_run_at dtsched.instant;
    v_max_attempts dtsched.max_attempts;
    v_timeout dtsched.timeout;
    v_limit_key dtsched.key;
    v_tags dtsched.tags := '{}';
    v_backoff jsonb;
    v_deadline dtsched.instant;
    v_correlation_id dtsched.correlation_id;
    v_workflow bigint;
begin
    -- a SET clause would be undone before the commit, where it counts
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if p_job is null or jsonb_typeof(p_job) <> 'object' or p_args is null or jsonb_typeof(p_args) <> 'array' then
        raise exception 'submit_alike() takes a job and an array of args, not % and %', coalesce(jsonb_typeof(p_job), 'null'),
                coalesce(jsonb_typeof(p_args), 'null')
            using errcode = 'JQ001';
    end if;
    select min(own.field) into v_own
    from unnest('{args,key,key_for,on_conflict,depends_on,on_parent_failure}'::text[]) own (field)
    where p_job ? own.field;
    if v_own is not null then
        raise exception '% differs from job to job: leave it out of what submit_alike() takes, or use submit_many()', v_own
            using errcode = 'JQ001', column = v_own;
    end if;
    if jsonb_array_length(p_args) = 0 then
        return '{}';
    end if;
    if p_queues is not null
        or dtsched.job_problem(p_job) is not null
        or p_check_tasks
            and exists (select from dtsched.tasks)
            and not exists (select from dtsched.tasks task where task.name = p_job ->> 'task')
    then
        perform dtsched.refuse_batch(jsonb_build_array(p_job), p_check_tasks, p_queues);
    end if;
    -- smaller ones are not over 1 MiB, unless they are made for it: then the domain of args refuses them in its own words
    if exists (select from jsonb_array_elements(p_args) given (args)
               where jsonb_typeof(given.args) not in ('object', 'null')
                   or pg_column_size(given.args) > 16384 and octet_length(given.args::text) > 1048576)
    then
        perform dtsched.refuse_batch(
            (select jsonb_agg(p_job || jsonb_build_object('args', given.args) order by given.n)
             from jsonb_array_elements(p_args) with ordinality as given (args, n)),
            p_check_tasks, p_queues);
    end if;

    v_name := p_job ->> 'task';
    select task.settings into v_task from dtsched.tasks task where task.name = v_name;
    v_queue := coalesce(p_job ->> 'queue', v_task ->> 'queue', 'default');
    select queue.settings into v_settings from dtsched.queues queue where queue.name = v_queue;
    v_priority := coalesce(p_job ->> 'priority', v_task ->> 'priority', '5');
    v_run_at := coalesce((p_job ->> 'run_at')::timestamptz,
                         v_now + make_interval(secs => nullif((p_job ->> 'delay')::double precision, 0)));
    v_max_attempts := coalesce(p_job ->> 'max_attempts', v_task ->> 'max_attempts', v_settings ->> 'max_attempts', '5');
    v_timeout := make_interval(secs => (p_job ->> 'timeout')::double precision);
    v_limit_key := p_job ->> 'limit_key';
    if jsonb_typeof(p_job -> 'tags') = 'array' then
        v_tags := array(select tag from jsonb_array_elements_text(p_job -> 'tags') tag);
    end if;
    v_backoff := coalesce(nullif(p_job -> 'backoff', 'null'), v_task -> 'backoff');
    v_deadline := coalesce((p_job ->> 'deadline')::timestamptz,
                           v_now + make_interval(secs => (p_job ->> 'expires_in')::double precision));
    v_correlation_id := p_job ->> 'correlation_id';
    v_workflow := p_job ->> 'workflow';
    if v_workflow is not null then
        perform dtsched.require_workflows(array[v_workflow]);
    end if;

    v_ids := array(select nextval('dtsched.job_id_seq') from generate_series(1, jsonb_array_length(p_args)));
    insert into dtsched.jobs (id, task, args, queue, priority, run_at, max_attempts, timeout, limit_key, tags, created_at, backoff,
                              deadline, correlation_id, workflow_id)
    select v_ids[given.n], v_name, coalesce(nullif(given.args, 'null'), '{}'), v_queue, v_priority, v_run_at, v_max_attempts,
        v_timeout, v_limit_key, v_tags, v_now, v_backoff, v_deadline, v_correlation_id, v_workflow
    from jsonb_array_elements(p_args) with ordinality as given (args, n);
    return v_ids;
end $$;

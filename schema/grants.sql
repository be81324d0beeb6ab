-- Rights, laid anew at each `migrate up`. Nobody but the owner touches the tables; submitters may INSERT the columns that
-- are theirs to say, everything else goes through functions. The roles are cluster-wide: without CREATEROLE those that are
-- missing are left out with a warning, and the owner alone uses the schema.
revoke all on schema dtsched from public;
revoke all on all tables in schema dtsched from public;
revoke all on all sequences in schema dtsched from public;
revoke all on all functions in schema dtsched from public;

do $$
declare
    c_seeing constant text[] := array[
        'job', 'list_jobs', 'find_jobs', 'list_attempts', 'why', 'list_queues', 'list_limits', 'list_workers', 'stats', 'metrics',
        'ended', 'watch_ended', 'unwatch_ended', 'check', 'workflow', 'list_workflows', 'effective_limits', 'list_steps',
        'list_tasks', 'list_logs', 'list_schedules', 'list_ticks', 'retention', 'watch_feed', 'unwatch_feed', 'read_feed',
        'watched_jobs', 'job_of_key', 'list_operations', 'list_errors', 'job_version'];
    c_changing constant text[] := array[
        'cancel', 'retry', 'run_now', 'reschedule', 'delete', 'edit', 'edit_expecting', 'pause', 'resume', 'drained', 'set_queue',
        'set_limit', 'submit_partly', 'emit', 'create_workflow', 'cancel_workflow', 'retry_workflow', 'save_schedule',
        'unschedule', 'pause_schedule', 'resume_schedule', 'run_schedule', 'set_retention', 'past_retention', 'prune',
        'create_operation', 'cancel_operation', 'list_audit'];
    -- what every worker does beside its jobs, and every server too
    c_maintaining constant text[] := array[
        'promote', 'witness', 'rescue', 'expire', 'deliver_events', 'forget_events', 'free_expired_keys', 'ensure_partitions',
        'roll_up', 'note_age', 'due_schedules', 'fire', 'note_schedule_problem', 'prune', 'prune_ticks', 'prune_feed',
        'prune_records', 'forget_receipts', 'forget_answers', 'step_operation'];
    v_role text;
    v_function regprocedure;
    v_type regtype;
begin
    -- PostgreSQL lets everybody use every new type: a table of somebody's with a column of it would be in the way of `migrate up`
    for v_type in
        select type.oid::regtype from pg_catalog.pg_type type
        where type.typnamespace = 'dtsched'::regnamespace and type.typtype in ('c', 'd')
    loop
        execute format('revoke all on type %s from public', v_type);
    end loop;

    foreach v_role in array array[
        'dtsched_submit', 'dtsched_worker', 'dtsched_monitor', 'dtsched_reader', 'dtsched_operator', 'dtsched_api'] loop
        if to_regrole(v_role) is null then
            begin
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then null;  -- another database of the cluster made it just now
                when insufficient_privilege then
                    raise warning 'role % is missing and may not be created here (no CREATEROLE): it gets no rights', v_role;
                    continue;
            end;
        end if;
        execute format('grant usage on schema dtsched to %I', v_role);
        execute format('grant execute on function dtsched.version(), dtsched.now(), dtsched.gate() to %I', v_role);
    end loop;

    if to_regrole('dtsched_submit') is not null then
        grant insert (queue, task, args, priority, run_at, max_attempts, timeout, key, limit_key, depends_on, tags,
                      key_until, on_parent_failure, workflow_id, deadline)
            on dtsched.jobs to dtsched_submit;
        grant select (id) on dtsched.jobs to dtsched_submit;  -- INSERT … RETURNING id
        grant usage on sequence dtsched.job_id_seq to dtsched_submit;
    end if;
    for v_role, v_function in
        select given.role, oid::regprocedure
        from pg_catalog.pg_proc
        join (values
            ('dtsched_submit', array[
                'submit', 'submit_many', 'submit_alike', 'submit_partly', 'create_workflow', 'emit']),
            ('dtsched_worker', c_maintaining || array[
                'register_worker', 'renew', 'deregister_worker', 'claim', 'claim_entry', 'finish', 'work', 'release', 'held', 'reconcile',
                'hungry', 'settled', 'sated', 'parents', 'has_ready', 'parent_results', 'begun_steps', 'recall_step',
                'record_step', 'start_sleep', 'await_event', 'emit', 'taken_away', 'complete', 'report',
                'declare_schedules']),
            ('dtsched_monitor', array['stats', 'metrics', 'list_queues', 'list_workers', 'list_tasks']),
            ('dtsched_reader', c_seeing),
            ('dtsched_operator', c_seeing || c_changing || array[
                'submit', 'submit_many', 'submit_alike', 'schedule', 'jobs_of_keys']),
            ('dtsched_api', c_seeing || c_changing || c_maintaining || array[
                'authorize', 'submit_many', 'submit_alike', 'submit_gathered', 'submit_once', 'note_audit', 'register_http_worker',
                'heartbeat', 'claim_leases', 'finish_lease', 'report_lease', 'deregister_http_worker', 'hungry', 'settled', 'sated'])
        ) as given (role, functions) on proname = any (given.functions)
        where pronamespace = 'dtsched'::regnamespace and to_regrole(given.role) is not null
    loop
        execute format('grant execute on function %s to %I', v_function, v_role);
    end loop;
end $$;

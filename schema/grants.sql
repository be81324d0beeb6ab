-- Rights, laid anew at each `migrate up`. Nobody but the owner touches the tables; submitters may INSERT the columns that
-- are theirs to say, everything else goes through functions. The four roles are cluster-wide: without CREATEROLE they are
-- left out with a warning, and the owner alone uses the schema.
revoke all on schema dtsched from public;
revoke all on all tables in schema dtsched from public;
revoke all on all sequences in schema dtsched from public;
revoke all on all functions in schema dtsched from public;

do $$
declare
    v_role text;
    v_function regprocedure;
begin
    foreach v_role in array array['dtsched_submit', 'dtsched_worker', 'dtsched_reader', 'dtsched_operator'] loop
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
                'submit', 'submit_many', 'submit_partly', 'create_workflow', 'emit']),
            ('dtsched_worker', array[
                'register_worker', 'renew', 'deregister_worker', 'claim', 'finish', 'work', 'release', 'held',
                'reconcile', 'rescue', 'promote', 'ensure_partitions', 'roll_up', 'note_age', 'hungry', 'settled',
                'sated', 'parents', 'has_ready', 'free_expired_keys', 'parent_results', 'begun_steps', 'recall_step',
                'record_step', 'start_sleep', 'await_event', 'emit', 'deliver_events', 'forget_events', 'expire',
                'taken_away', 'complete', 'report', 'due_schedules', 'fire', 'note_schedule_problem',
                'declare_schedules', 'prune_ticks', 'prune', 'witness', 'register_http_worker', 'heartbeat',
                'claim_leases', 'finish_lease', 'report_lease', 'deregister_http_worker', 'forget_receipts',
                'forget_answers', 'prune_feed', 'step_operation', 'prune_records']),
            ('dtsched_reader', array[
                'job', 'list_jobs', 'find_jobs', 'list_attempts', 'why', 'list_queues', 'list_limits', 'list_workers',
                'stats', 'metrics', 'ended', 'watch_ended', 'unwatch_ended', 'check', 'workflow', 'list_workflows',
                'effective_limits', 'list_steps', 'list_tasks', 'list_logs', 'list_schedules', 'list_ticks', 'retention',
                'watch_feed', 'unwatch_feed', 'read_feed', 'watched_jobs', 'authorize', 'job_of_key', 'list_operations', 'list_errors', 'job_version']),
            ('dtsched_operator', array[
                'job', 'list_jobs', 'find_jobs', 'list_attempts', 'why', 'list_queues', 'list_limits', 'list_workers',
                'stats', 'metrics', 'ended', 'watch_ended', 'unwatch_ended', 'check', 'jobs_of_keys', 'cancel',
                'watch_feed', 'unwatch_feed', 'read_feed', 'watched_jobs', 'prune_feed',
                'retry', 'run_now', 'reschedule', 'delete', 'pause', 'resume', 'set_queue', 'set_limit', 'submit',
                'submit_many', 'submit_partly', 'submit_gathered', 'submit_once', 'job_of_key', 'forget_answers',
                'create_workflow', 'workflow', 'list_workflows', 'cancel_workflow',
                'retry_workflow',
                'list_steps', 'emit', 'list_tasks', 'list_logs', 'list_schedules', 'list_ticks', 'schedule',
                'save_schedule', 'unschedule', 'pause_schedule', 'resume_schedule', 'run_schedule', 'promote',
                'due_schedules', 'fire', 'note_schedule_problem', 'prune_ticks', 'retention', 'set_retention',
                'past_retention', 'prune', 'edit', 'drained', 'witness', 'rescue', 'expire', 'deliver_events',
                'forget_events', 'free_expired_keys', 'ensure_partitions', 'roll_up', 'note_age',
                'effective_limits', 'authorize', 'forget_receipts', 'create_operation', 'step_operation', 'list_operations',
                'cancel_operation', 'prune_records', 'list_errors', 'note_audit', 'list_audit', 'edit_expecting',
                'job_version'])
        ) as given (role, functions) on proname = any (given.functions)
        where pronamespace = 'dtsched'::regnamespace and to_regrole(given.role) is not null
    loop
        execute format('grant execute on function %s to %I', v_function, v_role);
    end loop;
end $$;

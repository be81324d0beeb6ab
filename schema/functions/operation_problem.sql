-- What is wrong with an operation as create_operation() is given it, in one sentence, or null.
create or replace function dtsched.operation_problem(p_action text, p_filter jsonb, p_changes jsonb, p_run_at timestamptz)
returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case
        when p_action is null or p_action not in ('cancel', 'retry', 'delete', 'edit', 'run-now', 'reschedule')
            then format('action must be cancel, retry, delete, edit, run-now or reschedule, not %s',
                        coalesce(dtsched.shown(to_jsonb(p_action)), 'null'))
        when p_filter is null or p_filter = '{}'
            then 'filter is empty, which would mean every job: say which ones, as in state:failed'
        when p_action = 'edit' then dtsched.edit_problem(p_changes)
        when p_changes is not null then format('changes go with the action edit, not with %s', p_action)
        when p_action = 'reschedule'
            and (p_run_at is null or p_run_at < '1970-01-01 00:00Z' or p_run_at >= '10000-01-01 00:00Z')
            then format('run_at must be a finite time from 1970 to 9999, not %s', coalesce(p_run_at::text, 'null'))
        when p_action <> 'reschedule' and p_run_at is not null
            then format('run_at goes with the action reschedule, not with %s', p_action) end
$$;

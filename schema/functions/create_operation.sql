-- Begins an operation: an action (cancel, retry, delete, edit, run-now, reschedule) over all jobs that fit a filter, as find_jobs()
-- takes it, and were submitted before this call. Returns its id; step_operation() does the work, list_operations() says how far
-- it is. Times in the filter that are relative are fixed now. p_changes is what edit() takes, p_run_at what reschedule() does.
-- A dry run counts and shows what fits, and changes nothing. p_said is the filter as it was written, p_queues are those that the
-- caller is for (null: all), p_by is who that is. Raises JQ001 for what no operation may be: nothing is written then.
create or replace function dtsched.create_operation(
    p_action text,
    p_filter jsonb,
    p_changes jsonb default null,
    p_run_at timestamptz default null,
    p_dry_run boolean default false,
    p_said text default null,
    p_queues text[] default null,
    p_by text default null
)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_problem text := dtsched.operation_problem(p_action, p_filter, p_changes, p_run_at);
    v_wanted jsonb := p_filter;
    v_top bigint;
    v_id bigint;
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    perform dtsched.find_jobs(p_filter, null, 0);  -- refuses what it does not know
    v_wanted := v_wanted || jsonb_strip_nulls(jsonb_build_object(
        'since', dtsched.moment(p_filter -> 'since'), 'until', dtsched.moment(p_filter -> 'until')));
    if p_queues is not null then
        v_wanted := v_wanted || jsonb_build_object('queue', to_jsonb(array(
            select queue from unnest(p_queues) queue
            where not p_filter ? 'queue' or queue = any (dtsched.texts(p_filter -> 'queue')))));
    end if;
    select case when ids.is_called then ids.last_value else 0 end into v_top from dtsched.job_id_seq ids;
    insert into dtsched.operations
        (action, filter, wanted, queues, changes, run_at, dry_run, top_id, bottom_id, next_id, created_by)
    values (p_action, coalesce(p_said, p_filter::text), v_wanted, p_queues, p_changes, p_run_at, p_dry_run, v_top,
            least(coalesce((select min(job.id) from dtsched.jobs job), v_top), v_top), v_top + 1, p_by)
    returning id
    into v_id;
    return v_id;
end $$;

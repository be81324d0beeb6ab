-- Remembers what a step of a running job returned, for every later attempt, and says what is remembered from now on: the
-- first to write wins, and created is false for all others. Only who holds the lease may; JQ006 else. In the transaction that
-- has the step's effects they are committed together, so exactly once.
-- Raises JQ001 for a bad name, and for a result over 1 MiB as text. Locks: step_lease's, then the step's row.
create or replace function dtsched.record_step(p_worker uuid, p_lease bigint, p_name text, p_result jsonb)
returns table (result jsonb, created boolean)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_problem text := dtsched.text_problem('name', p_name);
    v_job bigint;
    v_now timestamptz := dtsched.now();
    v_step record;
begin
    -- a SET clause would be undone before the commit, where it counts
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001', column = 'name';
    elsif octet_length(p_result::text) > 1048576 then
        raise exception 'the result of step % must be at most 1 MiB (1048576 bytes) as text, not % bytes: store the data '
            'elsewhere and return a reference', dtsched.shown(to_jsonb(p_name)), octet_length(p_result::text)
            using errcode = 'JQ001', column = 'result';
    end if;
    v_job := dtsched.step_lease(p_worker, p_lease);
    insert into dtsched.steps (job_id, name, kind, state, result, attempt, worker_id, begun_at, ended_at)
    select v_job, p_name, 'step', 'done', coalesce(p_result, 'null'), job.attempt, p_worker, v_now, v_now
    from dtsched.jobs job
    where job.id = v_job
    on conflict on constraint steps_pkey do nothing;
    if found then
        return query select coalesce(p_result, 'null'), true;
        return;
    end if;
    select step.kind, step.result into v_step from dtsched.steps step where step.job_id = v_job and step.name = p_name;
    perform dtsched.same_kind(v_job, p_name, v_step.kind, 'step');
    return query select v_step.result, false;
end $$;

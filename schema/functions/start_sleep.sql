-- Whether a sleep of a running job is over. The first call fixes its end, p_seconds from now; while it lasts the worker
-- finishes the attempt as {"outcome": "snooze", "wait": p_name}, which gives the slot back until then. run_now() and
-- reschedule() move the end. Raises JQ001 for a bad name or duration, JQ006 without the lease.
-- Locks: step_lease's, then the step's row.
create or replace function dtsched.start_sleep(p_worker uuid, p_lease bigint, p_name text, p_seconds double precision)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_problem text := dtsched.text_problem('name', p_name);
    v_job bigint;
    v_step record;
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001', column = 'name';
    elsif (p_seconds between 0 and 366 * 86400) is not true then
        raise exception 'a sleep must be of 0 to 366 days, in seconds, not %', coalesce(p_seconds::text, 'null')
            using errcode = 'JQ001', column = 'duration';
    end if;
    v_job := dtsched.step_lease(p_worker, p_lease);
    insert into dtsched.steps (job_id, name, kind, state, until, attempt, worker_id)
    select v_job, p_name, 'sleep', 'waiting', dtsched.now() + make_interval(secs => p_seconds), job.attempt, p_worker
    from dtsched.jobs job
    where job.id = v_job
    on conflict on constraint steps_pkey do nothing;
    select step.kind, step.state, step.until
    into v_step
    from dtsched.steps step
    where step.job_id = v_job and step.name = p_name;
    perform dtsched.same_kind(v_job, p_name, v_step.kind, 'sleep');
    if v_step.state = 'waiting' and v_step.until > dtsched.now() then
        return false;
    end if;
    update dtsched.steps step
    set state = 'done', ended_at = dtsched.now()
    where step.job_id = v_job and step.name = p_name and step.state = 'waiting';
    return true;
end $$;

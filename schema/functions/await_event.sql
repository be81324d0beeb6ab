-- What a running job that asks for an event is told: event (with its payload), timeout (it did not come in p_seconds from the
-- first call), wait (finish the attempt as {"outcome": "snooze", "wait": p_step}, which gives the slot back until either),
-- or busy (somebody is emitting it in a transaction that has not ended: ask again in a moment). event and timeout are
-- remembered: later calls say the same. Without p_seconds there is no timeout.
--
-- No event is lost between this check and the parking. Both sides take the advisory lock of the event's name: emit()
-- exclusively, this one shared, and in statements after that each sees what the other has committed. So either the check here
-- finds the event, or emit() finds this wait, and from then on the event stays due until the job is seen parked and woken
-- (deliver_event) or asks again.
-- Raises JQ001 for bad input, JQ006 without the lease. Locks: step_lease's, the event's name (never waiting for it), then the
-- step's row and the wait's.
create or replace function dtsched.await_event(
    p_worker uuid,
    p_lease bigint,
    p_step text,
    p_event text,
    p_seconds double precision default null
)
returns table (outcome text, payload jsonb)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_problem text := coalesce(dtsched.text_problem('name', p_step), dtsched.text_problem('event', p_event));
    v_job bigint;
    v_step record;
    v_payload jsonb;
    v_state text;
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001', column = split_part(v_problem, ' ', 1);
    elsif p_seconds not between 0 and 366 * 86400 then
        raise exception 'timeout must be 0 to 366 days, in seconds, not %', p_seconds using errcode = 'JQ001', column = 'timeout';
    end if;
    v_job := dtsched.step_lease(p_worker, p_lease);
    if not pg_try_advisory_xact_lock_shared(dtsched.event_gate(), hashtext(p_event)) then
        return query select 'busy', null::jsonb;
        return;
    end if;
    insert into dtsched.steps (job_id, name, kind, state, event, until, attempt, worker_id)
    select v_job, p_step, 'event', 'waiting', p_event,
        coalesce(dtsched.now() + make_interval(secs => p_seconds), '9999-12-31 00:00Z'), job.attempt, p_worker
    from dtsched.jobs job
    where job.id = v_job
    on conflict on constraint steps_pkey do nothing;
    select case when step.event <> p_event then 'other event' else step.kind end as kind, step.state, step.until, step.result
    into v_step
    from dtsched.steps step
    where step.job_id = v_job and step.name = p_step;
    perform dtsched.same_kind(v_job, p_step, v_step.kind, 'event');
    if v_step.state <> 'waiting' then
        return query select case v_step.state when 'done' then 'event' else 'timeout' end, v_step.result;
        return;
    end if;

    select event.payload into v_payload from dtsched.events event where event.name = p_event;
    v_state := case when found then 'done' when v_step.until <= dtsched.now() then 'timeout' else 'waiting' end;
    if v_state = 'waiting' then
        insert into dtsched.event_waits (event, job_id, step) values (p_event, v_job, p_step)
        on conflict on constraint event_waits_pkey do update set step = excluded.step, woken_at = null;
        return query select 'wait', null::jsonb;
        return;
    end if;
    update dtsched.steps step
    set state = v_state, result = v_payload, ended_at = dtsched.now()
    where step.job_id = v_job and step.name = p_step;
    delete from dtsched.event_waits wait where wait.event = p_event and wait.job_id = v_job;
    return query select case v_state when 'done' then 'event' else 'timeout' end, v_payload;
end $$;

-- Submits the job of a schedule now, also while it is paused, and returns its id. What overlap says holds: with skip, when
-- a job of the schedule is unfinished, that one is returned, and created is false; with cancel the last one is cancelled. No
-- tick is made of it, and the next one fires as ever. Raises JQ004 when there is none, and JQ001 as submit_many() does.
-- Locks: the schedule's row, then cancel's and submit_many's.
create or replace function dtsched.run_schedule(p_name text)
returns table (job_id bigint, created boolean)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_schedule dtsched.schedules;
begin
    select schedule.* into v_schedule from dtsched.schedules schedule where schedule.name = p_name for no key update;
    if not found then
        raise exception 'there is no schedule %', dtsched.shown(to_jsonb(p_name)) using errcode = 'JQ004';
    end if;
    if v_schedule.overlap = 'skip' and dtsched.unfinished(v_schedule.last_job_id) then
        job_id := v_schedule.last_job_id;
        created := false;
        return next;
        return;
    end if;
    if v_schedule.overlap = 'cancel' then
        perform dtsched.cancel(array[v_schedule.last_job_id]) where v_schedule.last_job_id is not null;
    end if;
    select submitted.job_id, submitted.created into job_id, created
    from dtsched.submit_scheduled(v_schedule, array[dtsched.now()]) submitted;
    update dtsched.schedules schedule set last_job_id = run_schedule.job_id where schedule.name = p_name;
    return next;
end $$;

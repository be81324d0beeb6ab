-- Keeps a schedule from firing until resume_schedule(); run_schedule() still runs it. False when it was paused already. Raises
-- JQ004 when there is none. Locks: the schedule's row.
create or replace function dtsched.pause_schedule(p_name text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    update dtsched.schedules schedule
    set paused_at = dtsched.now()
    where schedule.name = p_name and schedule.paused_at is null;
    if not found and not exists (select from dtsched.schedules schedule where schedule.name = p_name) then
        raise exception 'there is no schedule %', dtsched.shown(to_jsonb(p_name)) using errcode = 'JQ004';
    end if;
    return found;
end $$;

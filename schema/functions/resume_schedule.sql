-- Lets a schedule fire again, from now on: what fell into the pause is not made up for. False when it was not paused. Raises
-- JQ004 when there is none. Locks: the schedule's row.
create or replace function dtsched.resume_schedule(p_name text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    update dtsched.schedules schedule
    set paused_at = null
    where schedule.name = p_name and schedule.paused_at is not null;
    if not found and not exists (select from dtsched.schedules schedule where schedule.name = p_name) then
        raise exception 'there is no schedule %', dtsched.shown(to_jsonb(p_name)) using errcode = 'JQ004';
    end if;
    return found;
end $$;

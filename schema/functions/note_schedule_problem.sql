-- Notes what a process has found wrong with a schedule, unless it was changed meanwhile: it fires no more until it is.
-- Locks: the schedule's row.
create or replace function dtsched.note_schedule_problem(p_name text, p_version bigint, p_problem text) returns void
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    update dtsched.schedules schedule
    set problem = left(p_problem, 500)
    where schedule.name = p_name and schedule.version = p_version
$$;

-- Removes a schedule; what it has submitted goes on. Raises JQ004 when there is none, and JQ003 when running code declares it:
-- it would be back within a minute. Locks: the schedule's row.
create or replace function dtsched.unschedule(p_name text) returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_declared_at timestamptz;
begin
    select schedule.declared_at into v_declared_at
    from dtsched.schedules schedule
    where schedule.name = p_name
    for update;
    if not found then
        raise exception 'there is no schedule %', dtsched.shown(to_jsonb(p_name)) using errcode = 'JQ004';
    end if;
    if v_declared_at > dtsched.now() - dtsched.declaration_lasts() then
        raise exception 'schedule % is declared by the code of running workers: take it out there, or pause it', p_name
            using errcode = 'JQ003';
    end if;
    delete from dtsched.schedules schedule where schedule.name = p_name;
end $$;

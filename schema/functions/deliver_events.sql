-- Wakes who could not be woken when an event was emitted (see deliver_event), and returns how many. Safe to run from every
-- worker at once. Reads events_due_idx. Locks: events SKIP LOCKED, then deliver_event's.
create or replace function dtsched.deliver_events(p_limit integer default 100) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_event text;
    v_woken integer := 0;
begin
    for v_event in
        select event.name from dtsched.events event where event.due order by event.name limit p_limit for update skip locked
    loop
        v_woken := v_woken + dtsched.deliver_event(v_event);
    end loop;
    return v_woken;
end $$;

-- Says that an event has happened, once and for all: the first emit of a name wins, later ones change nothing (created is
-- false). Jobs that wait for it become ready with this transaction's commit; woken says how many. Jobs that ask for it later
-- are told at once, for as long as it is kept (forget_events). A job that cannot be woken now, because somebody holds its
-- row or it is just about to be parked, is woken by the workers within a second or two: the event stays due until then.
-- Raises JQ001 for a bad name, and for a payload over 1 MiB as text.
-- Locks: the event's name, waiting for another transaction that emits it; the event's row, then deliver_event's.
create or replace function dtsched.emit(p_name text, p_payload jsonb default null)
returns table (created boolean, woken integer)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_problem text := dtsched.text_problem('name', p_name);
begin
    -- a SET clause would be undone before the commit, where it counts
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001', column = 'name';
    elsif octet_length(p_payload::text) > 1048576 then
        raise exception 'payload must be at most 1 MiB (1048576 bytes) as text, not % bytes: store the data elsewhere and emit '
            'a reference', octet_length(p_payload::text)
            using errcode = 'JQ001', column = 'payload';
    end if;
    perform pg_advisory_xact_lock(dtsched.event_gate(), hashtext(p_name));
    insert into dtsched.events (name, payload)
    values (p_name, coalesce(p_payload, 'null'))
    on conflict on constraint events_pkey do nothing;
    if not found then
        return query select false, 0;
        return;
    end if;
    return query select true, dtsched.deliver_event(p_name);
end $$;

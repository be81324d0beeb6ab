-- Looks at limit keys again after a claim has made its leases: one with waiting jobs and a free seat gets a turn, and one that
-- lacks nothing but time is woken then. The claim holds their rows. Reads what seats() and add_turns() read.
-- Locks: wakes, by key.
create or replace function dtsched.give_turns(p_queue text, p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_keys text[] := array(select distinct limit_key from unnest(p_keys) limit_key);
    v_now timestamptz := dtsched.now();  -- of what is volatile seats() would be planned anew in each call
    v_free text[];
    v_late text[];
    v_at timestamptz[];
begin
    select array_agg(room.limit_key) filter (where room.seats > 0),
        array_agg(room.limit_key) filter (where room.seats = 0 and room.wake_at is not null),
        array_agg(room.wake_at) filter (where room.seats = 0 and room.wake_at is not null)
    into v_free, v_late, v_at
    from dtsched.seats(p_queue, v_keys, v_now) room;
    if v_free is not null then
        perform dtsched.add_turns(p_queue, v_free);
    end if;
    if v_late is not null then
        perform dtsched.wake_later(p_queue, v_late, v_at);
    end if;
end $$;

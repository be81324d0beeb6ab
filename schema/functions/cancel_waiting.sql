-- Cancels those of these jobs that wait, as far as nobody holds their rows, and returns them.
-- Locks: lock_waiting's, then end_unsuccessful's.
create or replace function dtsched.cancel_waiting(p_ids bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_locked bigint[] := dtsched.lock_waiting(p_ids);
begin
    if v_locked <> '{}' then
        perform dtsched.end_unsuccessful(v_locked, 'cancelled', 'cancelled before it started');
    end if;
    return v_locked;
end $$;

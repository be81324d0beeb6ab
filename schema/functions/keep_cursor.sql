-- Keeps a session's cursor of a queue for others to begin with, unless somebody has done so within the last five seconds. Waits for
-- nobody: whoever meets another at that leaves it to him. Locks: an advisory lock of the transaction, the queue's row of cursors.
create or replace function dtsched.keep_cursor(p_queue text, p_cursor text) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    if not exists (
            select
            from dtsched.cursors kept
            where kept.queue = p_queue and kept.server_started_at = pg_postmaster_start_time()
                and kept.kept_at between v_now - interval '5 seconds' and v_now)
        and pg_try_advisory_xact_lock(dtsched.gate() + 7, hashtext(p_queue)) then
        insert into dtsched.cursors (queue, cursor, server_started_at, kept_at)
        values (p_queue, p_cursor, pg_postmaster_start_time(), v_now)
        on conflict (queue) do update
        set cursor = excluded.cursor, server_started_at = excluded.server_started_at, kept_at = excluded.kept_at;
    end if;
end $$;

-- Keeps workers from claiming this queue's jobs, until resume(); what runs goes on. False when it was paused already. A queue
-- that nobody has named yet comes to exist by this. Raises JQ001 for what is no name. Locks: the queue's row.
create or replace function dtsched.pause(p_queue text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    perform dtsched.require_queue_name(p_queue);
    insert into dtsched.queues (name, paused_at) values (p_queue, dtsched.now())
    on conflict (name) do update set paused_at = excluded.paused_at where queues.paused_at is null;
    return found;
end $$;

-- Keeps workers from claiming this queue's jobs, until resume(); what runs goes on. Workers are told (channel dtsched_pause, the
-- queue's name), and give back what they have fetched ahead. False when it was paused already. A queue
-- that nobody has named yet comes to exist by this. Raises JQ001 for what is no name. Locks: the queue's row.
create or replace function dtsched.pause(p_queue text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    perform dtsched.require_queue_name(p_queue);
    insert into dtsched.queues (name, paused_at) values (p_queue, dtsched.now())
    on conflict (name) do update set paused_at = excluded.paused_at where queues.paused_at is null;
    if not found then
        return false;
    end if;
    if dtsched.may_notify() then
        perform pg_notify('dtsched_pause', p_queue);
    end if;
    return true;
end $$;

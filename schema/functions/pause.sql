-- Keeps workers from claiming this queue's jobs, until resume(); what runs goes on. False when it was paused already. A queue
-- that nobody has named yet comes to exist by this. Raises JQ001 for what is no name. Locks: the queue's row.
create or replace function dtsched.pause(p_queue text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if p_queue is null or p_queue !~ '^[A-Za-z0-9._:-]+$' or octet_length(p_queue) > 128 then
        raise exception 'queue must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %',
            dtsched.shown(to_jsonb(p_queue)) using errcode = 'JQ001';
    end if;
    insert into dtsched.queues (name, paused_at) values (p_queue, dtsched.now())
    on conflict (name) do update set paused_at = excluded.paused_at where queues.paused_at is null;
    return found;
end $$;

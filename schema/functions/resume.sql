-- Lets workers claim this queue's jobs again, also when its circuit breaker is open, and wakes them. False when nothing kept them
-- from it, or the queue is unknown.
-- Locks: the queue's row.
create or replace function dtsched.resume(p_queue text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    update dtsched.queues queue
    set paused_at = null,
        open_until = null,
        probe_id = null,
        failed_at = '{}'
    where queue.name = p_queue and (queue.paused_at is not null or queue.open_until is not null);
    if not found then
        return false;
    end if;
    if dtsched.may_notify() then
        perform pg_notify('dtsched_wake', p_queue);
    end if;
    return true;
end $$;

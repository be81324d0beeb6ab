-- Whether a queue is paused, and none of its jobs runs or will: no lease is left, and no claim is under way that read the queue
-- before it was paused, not even in a transaction that somebody has left open. Each claim holds this lock shared from before it
-- reads the queue, so once it could be had alone, whatever claims left behind is there to be seen. Locks: that one, for an instant.
create or replace function dtsched.drained(p_queue text) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    if not exists (select from dtsched.queues queue where queue.name = p_queue and queue.paused_at is not null) then
        return false;
    end if;
    -- one expression, so that nothing can come between the lock and its release
    if not (case when pg_try_advisory_lock(dtsched.gate() + 3, hashtext(p_queue))
                 then pg_advisory_unlock(dtsched.gate() + 3, hashtext(p_queue)) else false end) then
        return false;
    end if;
    return not exists (select from dtsched.leases lease where lease.queue = p_queue);
end $$;

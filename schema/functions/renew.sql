-- Renews, in one UPDATE of one row, all the leases a worker holds, and tells it what to stop. alive = false means that this
-- identity has been declared lost: the worker drops what it holds and registers anew. unbroken_since is what makes it a
-- witness (see rescue). The row is locked before dtsched.now() is read: an UPDATE that waits for its row computes the new
-- values first, and would grant a lease that has run out. Locks: the worker's row.
create or replace function dtsched.renew(p_worker uuid, p_info jsonb default null)
returns table (alive boolean, draining boolean, cancelled bigint[])
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_draining boolean;
begin
    perform from dtsched.workers worker where worker.id = p_worker for no key update;
    update dtsched.workers worker
    set unbroken_since = case
            when worker.expires_at < dtsched.now() or worker.unbroken_since > dtsched.now() then dtsched.now()
            else worker.unbroken_since
        end,
        expires_at = dtsched.now() + worker.lease,
        info = coalesce(p_info, worker.info)
    where worker.id = p_worker and worker.lost_at is null
    returning worker.draining
    into v_draining;
    if not found then
        return query select false, false, '{}'::bigint[];
        return;
    end if;
    return query
    select true, v_draining, array(
        select lease.id
        from dtsched.leases lease
        where lease.worker_id = p_worker and lease.cancel_requested_at is not null);
end $$;

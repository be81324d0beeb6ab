-- Writes one worker_events row for each worker whose leases a statement made valid for longer or shorter. Trigger on workers,
-- laid by trace(). Locks nothing.
create or replace function dtsched.record_workers() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_stack text;
begin
    get diagnostics v_stack = pg_context;
    if tg_op = 'INSERT' then
        insert into dtsched.worker_events (kind, worker_id, slots, lease, expires_at, lost_at, who)
        select 'registered', worker.id, worker.slots, worker.lease, worker.expires_at, worker.lost_at, dtsched.called(v_stack)
        from new_workers worker
        order by worker.id;
    elsif tg_op = 'UPDATE' then
        insert into dtsched.worker_events (kind, worker_id, slots, lease, expires_at, lost_at, who)
        select case when new_worker.lost_at is null then 'renewed' else 'lost' end, new_worker.id, new_worker.slots,
            new_worker.lease, new_worker.expires_at, new_worker.lost_at, dtsched.called(v_stack)
        from new_workers new_worker
        join old_workers old_worker on old_worker.id = new_worker.id
        where (old_worker.expires_at, old_worker.lost_at) is distinct from (new_worker.expires_at, new_worker.lost_at)
        order by new_worker.id;
    else
        insert into dtsched.worker_events (kind, worker_id, slots, lease, expires_at, lost_at, who)
        select 'gone', worker.id, worker.slots, worker.lease, worker.expires_at, worker.lost_at, dtsched.called(v_stack)
        from old_workers worker
        order by worker.id;
    end if;
    return null;
end $$;

-- Writes one lease_events row for each lease that a statement granted or released, with what is known of its worker. Trigger
-- on leases, laid by trace(). Reads workers_pkey; locks nothing.
create or replace function dtsched.record_leases() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_stack text;
begin
    get diagnostics v_stack = pg_context;
    insert into dtsched.lease_events
        (kind, lease_id, job_id, worker_id, limit_key, queue, deadline, cancel_requested, gave_up_key,
        worker_expires_at, worker_lost_at, who)
    select case tg_op when 'INSERT' then 'granted' else 'released' end, lease.id, lease.job_id, lease.worker_id,
        lease.limit_key, lease.queue, lease.deadline, lease.cancel_requested_at is not null, lease.gave_up_key,
        worker.expires_at, worker.lost_at, dtsched.called(v_stack)
    from moved_leases lease
    left join dtsched.workers worker on worker.id = lease.worker_id
    order by lease.id;
    return null;
end $$;

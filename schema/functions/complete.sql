-- Completes one attempt inside the caller's own transaction: what that has written and the completion commit together or not
-- at all, so these effects happen exactly once. To be called last: until the commit it holds the job, its key and what
-- depends on it. Raises, and the transaction is to be rolled back: JQ005 when the lease is gone (the attempt was taken away,
-- and may be running elsewhere), JQ003 when the job was cancelled meanwhile, JQ001 in a transaction that is not READ
-- COMMITTED. Locks: finish's.
create or replace function dtsched.complete(p_worker uuid, p_lease bigint, p_result jsonb default null) returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_cancel_requested_at timestamptz;
begin
    perform dtsched.require_read_committed();
    select lease.cancel_requested_at
    into v_cancel_requested_at
    from dtsched.leases lease
    where lease.id = p_lease and (lease.worker_id = p_worker) is true and lease.secret is null
    for update;
    if not found then
        raise exception 'lease % is gone: its attempt has ended or was taken away', p_lease
            using errcode = 'JQ005', hint = 'Roll back: somebody else may be running the job.';
    elsif v_cancel_requested_at is not null then
        raise exception 'the job of lease % was cancelled while it ran, and cannot be completed', p_lease
            using errcode = 'JQ003', hint = 'Roll back: the job ends cancelled.';
    end if;
    perform dtsched.finish(p_worker, array[p_lease], jsonb_build_array(p_result));
end $$;

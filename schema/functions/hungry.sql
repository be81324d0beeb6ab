-- Says, on the session that listens, that its worker has found these queues empty: from here on a submission notifies it.
-- Returns an xid drawn after the locks were taken. Transactions with a smaller one may have found the gate open, so the
-- worker goes on polling until settled() of it. Called twice, the locks stack up and want as many calls of sated().
-- Locks: shared advisory locks of the session, on the gate and on each queue.
create or replace function dtsched.hungry(p_queues text[]) returns bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    perform pg_advisory_lock_shared(dtsched.gate());
    perform pg_advisory_lock_shared(dtsched.gate(), hashtext(queue.name)) from unnest(p_queues) as queue (name);
    return pg_current_xact_id()::text::bigint;
end $$;

-- Says, on the session that listens, that its worker has found these queues empty: from here on a submission notifies it.
-- Returns an xid drawn after the locks were taken. Transactions with a smaller one may have found the gate open, so the
-- worker goes on polling until settled() of it. Null: somebody has a lock for himself (submitters do, for an instant), and
-- nothing was taken. Called twice, the locks stack up and want as many calls of sated().
-- Locks: shared advisory locks of the session, on the gate and on each queue; waits for none of them.
create or replace function dtsched.hungry(p_queues text[]) returns bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_taken text[];
begin
    for v_try in 1..20 loop
        if pg_try_advisory_lock_shared(dtsched.gate()) then
            v_taken := array(
                select queue.name
                from unnest(p_queues) as queue (name)
                where pg_try_advisory_lock_shared(dtsched.gate(), hashtext(queue.name)));
            if cardinality(v_taken) = cardinality(p_queues) then
                return pg_current_xact_id()::text::bigint;
            end if;
            perform dtsched.sated(v_taken);
        end if;
        perform pg_sleep(0.002);
    end loop;
    return null;
end $$;

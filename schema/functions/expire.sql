-- Acts on times that have passed, safe to run from every worker at once; returns a row for each job that it moved. A waiting
-- job whose deadline has passed fails (lease_id is null then). A running attempt whose lease.deadline, set at its claim, has
-- passed by a grace while its worker is alive is taken away as a timeout: the worker ought to have ended it, and does not.
-- p_worker is who asks: attempts are judged by a witness only, as in rescue(), so that after an outage the living deliver
-- first; null: waiting jobs alone. Locks: expire_waiting's, then expire_leases's.
create or replace function dtsched.expire(p_worker uuid, p_limit integer default 1000)
returns table (job_id bigint, lease_id bigint, state text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_now timestamptz := dtsched.now();
begin
    return query select failed, null::bigint, 'failed' from dtsched.expire_waiting(p_limit) failed;
    if exists (select from dtsched.workers witness
               where witness.id = p_worker and witness.lost_at is null and witness.expires_at > v_now
                   and witness.unbroken_since <= v_now - witness.lease) then
        return query select taken.job_id, taken.lease_id, taken.state from dtsched.expire_leases(p_limit) taken;
    end if;
end $$;

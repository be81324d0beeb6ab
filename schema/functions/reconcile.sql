-- Hands back the leases in a worker's name that it does not hold in memory (the answer to its claim was lost). p_below is
-- the highest lease id of a claim that was answered: what is newer may be a claim still in flight. To be called between
-- claims only. Their handlers never started, but nobody can vouch for it, so they count as crashes.
-- Locks: leases by id SKIP LOCKED, then hand_back's.
create or replace function dtsched.reconcile(p_worker uuid, p_held bigint[], p_below bigint) returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_forgotten bigint[] := array(
        select lease.id
        from dtsched.leases lease
        where lease.worker_id = p_worker and lease.id <= p_below and lease.id <> all (p_held)
        order by lease.id
        for update skip locked);
begin
    if v_forgotten <> '{}' then
        return query
        select back.lease_id
        from dtsched.hand_back(v_forgotten, true, 'its worker no longer knew of it') back;
    end if;
end $$;

-- Takes a worker off the list and hands back, as started, whatever it still holds. Returns how many jobs that were; 0 also
-- when the worker is unknown. What somebody else holds is left to rescue(), which is told of it by the worker's row: that
-- stays, as one that is lost before its lease has run out, until nothing is left of its leases.
-- Locks: leases by id SKIP LOCKED, hand_back's, the worker's row.
create or replace function dtsched.deregister_worker(p_worker uuid) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_count integer;
begin
    select count(*)
    into v_count
    from dtsched.hand_back(array(
        select lease.id from dtsched.leases lease where lease.worker_id = p_worker order by lease.id for update skip locked),
        true, 'handed back by its worker, which stopped before the job had ended');
    if exists (select from dtsched.leases lease where lease.worker_id = p_worker) then
        update dtsched.workers worker set lost_at = dtsched.now() where worker.id = p_worker and worker.lost_at is null;
    else
        delete from dtsched.workers worker where worker.id = p_worker;
    end if;
    return v_count;
end $$;

-- Those of a worker's leases that cannot be finished now, because somebody else holds their job's row. Locks: lock_jobs's.
create or replace function dtsched.held(p_worker uuid, p_leases bigint[]) returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_held bigint[] := dtsched.lock_jobs(array(
        select lease.job_id from dtsched.leases lease where lease.id = any (p_leases)));
begin
    return query
    select lease.id
    from dtsched.leases lease
    where lease.id = any (p_leases) and (lease.worker_id = p_worker) is true and lease.job_id = any (v_held)
    order by lease.id;
end $$;

-- The job of a lease that this worker holds, or JQ006. Who writes a step holds the lease's row until it commits, so what is
-- remembered is remembered before the job can be given to another worker: rescue passes over the row, finish waits for it.
-- Reads leases_pkey. Locks: the lease, shared.
create or replace function dtsched.step_lease(p_worker uuid, p_lease bigint) returns bigint
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_job bigint;
begin
    select lease.job_id
    into v_job
    from dtsched.leases lease
    where lease.id = p_lease and (lease.worker_id = p_worker) is true and lease.secret is null
    for key share;
    if not found then
        raise exception 'lease % is not held any more: its job was taken back, or has ended', coalesce(p_lease::text, 'null')
            using errcode = 'JQ006';
    end if;
    return v_job;
end $$;

-- Hands a worker's own leases back, at shutdown. Those whose handler never started get their attempt restored; started ones
-- count against the crash cap. Returns the leases that were still held. Locks: leases by id, jobs by id, then hand_back's.
create or replace function dtsched.release(p_worker uuid, p_never_started bigint[], p_started bigint[])
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_started bigint[] := coalesce(p_started, '{}');
    v_held bigint[] := array(
        select lease.id
        from dtsched.leases lease
        where lease.id = any (coalesce(p_never_started, '{}') || v_started) and (lease.worker_id = p_worker) is true
        order by lease.id
        for update);
begin
    -- handed back one half after the other, their jobs would not be locked in id order
    perform from dtsched.jobs job
    where job.id = any (array(select lease.job_id from dtsched.leases lease where lease.id = any (v_held)))
    order by job.id
    for no key update;
    return query
    select back.lease_id
    from dtsched.hand_back(array(select id from unnest(v_held) id where id <> all (v_started)), false, 'released') back;
    return query
    select back.lease_id
    from dtsched.hand_back(array(select id from unnest(v_held) id where id = any (v_started)), true,
                           'handed back by its worker, which stopped before the job had ended') back;
end $$;

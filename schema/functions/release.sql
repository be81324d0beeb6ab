-- Hands a worker's own leases back, at shutdown. Those whose handler never started get their attempt restored; started ones
-- count against the crash cap. Returns the leases that were still held. Locks: leases by id, then hand_back's.
create or replace function dtsched.release(p_worker uuid, p_never_started bigint[], p_started bigint[])
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_held bigint[] := array(
        select lease.id
        from dtsched.leases lease
        where lease.id = any (coalesce(p_never_started, '{}') || coalesce(p_started, '{}')) and (lease.worker_id = p_worker) is true
        order by lease.id
        for update);
begin
    return query
    select back.lease_id
    from dtsched.hand_back(array(select id from unnest(v_held) id where id <> all (coalesce(p_started, '{}'))), false, 'released') back;
    return query
    select back.lease_id
    from dtsched.hand_back(array(select id from unnest(v_held) id where id = any (p_started)), true,
                           'handed back by its worker, which stopped before the job had ended') back;
end $$;

-- Hands a worker's own leases back, at shutdown. Those whose handler never started get their attempt restored; started ones
-- count against the crash cap. Returns the leases that are over, by this or already; for the others, whose rows somebody
-- else holds, the worker asks again. Locks: leases by id SKIP LOCKED, then hand_back's.
create or replace function dtsched.release(p_worker uuid, p_never_started bigint[], p_started bigint[])
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_started bigint[] := coalesce(p_started, '{}');
    v_asked bigint[] := coalesce(p_never_started, '{}') || v_started;
    v_locked bigint[] := array(
        select lease.id
        from dtsched.leases lease
        where lease.id = any (v_asked) and (lease.worker_id = p_worker) is true
        order by lease.id
        for update skip locked);
begin
    perform dtsched.hand_back(array(select id from unnest(v_locked) id where id <> all (v_started)), false, 'released');
    perform dtsched.hand_back(array(select id from unnest(v_locked) id where id = any (v_started)), true,
                              'handed back by its worker, which stopped before the job had ended');
    return query
    select asked.id
    from unnest(v_asked) asked (id)
    where not exists (select from dtsched.leases lease where lease.id = asked.id and (lease.worker_id = p_worker) is true);
end $$;

-- Those of these leases that a worker does not hold any more: finished, or taken away by rescue() or expire(). Locks nothing.
create or replace function dtsched.taken_away(p_worker uuid, p_leases bigint[]) returns setof bigint
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select asked.id
    from unnest(p_leases) asked (id)
    where not exists (select from dtsched.leases lease where lease.id = asked.id and (lease.worker_id = p_worker) is true)
$$;

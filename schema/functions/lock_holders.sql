-- Locks the jobs p_wanted, which hold some of the keys of a batch, with their leases, and the parents of the batch with them:
-- locked by link_parents later on, they would be out of order. Returns the states of all holders in the order of the batch;
-- those that are not wanted may change. Raises JQ009 when one has lost its key or was claimed before its row was locked.
-- Locks: leases by id, blocked rows by id, jobs by id.
create or replace function dtsched.lock_holders(p_jobs jsonb, p_keys text[], p_holders bigint[], p_wanted bigint[])
returns text[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_leases bigint[];
    v_named jsonb[];  -- in depends_on: ids, and keys
    v_parents bigint[] := '{}';
begin
    if p_wanted = '{}' then
        return array_fill(null::text, array[cardinality(p_holders)]);
    end if;
    v_leases := array(
        select lease.id
        from dtsched.leases lease
        where lease.id = any (array(
            select held.id
            from dtsched.jobs job
            cross join lateral (
                select lease.id from dtsched.leases lease
                where lease.worker_id = job.worker_id and lease.job_id = job.id) held
            where job.id = any (p_wanted) and job.state = 'running'))
        order by lease.id
        for no key update);
    perform from dtsched.blocked waiting where waiting.job_id = any (p_wanted) order by waiting.job_id for update;
    if jsonb_path_exists(p_jobs, '$[*].depends_on[*]') then
        v_named := array(
            select coalesce(parent -> 'job', parent) from jsonb_path_query(p_jobs, '$[*].depends_on[*]') parent);
        v_parents := array(
            select (parent #>> '{}')::bigint from unnest(v_named) parent where jsonb_typeof(parent) = 'number') || array(
            select taken.job_id
            from dtsched.keys taken
            where taken.key = any (array(
                select parent #>> '{}' from unnest(v_named) parent where jsonb_typeof(parent) = 'string')));
    end if;
    perform from dtsched.jobs job where job.id = any (p_wanted || v_parents) order by job.id for no key update;

    if exists (
        select
        from unnest(p_keys, p_holders) as held (key, holder)
        join unnest(p_wanted) wanted (id) on wanted.id = held.holder
        where not exists (select from dtsched.keys taken where taken.key = held.key and taken.job_id = held.holder))
        or exists (
            select
            from dtsched.jobs job
            where job.id = any (p_wanted) and job.state = 'running'
                and not exists (
                    select from dtsched.leases lease where lease.id = any (v_leases) and lease.job_id = job.id))
    then
        raise exception 'a holder has changed' using errcode = 'JQ009';
    end if;
    return array(
        select (select job.state from dtsched.jobs job where job.id = held.holder)
        from unnest(p_holders) with ordinality as held (holder, n)
        order by held.n);
end $$;

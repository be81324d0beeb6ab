-- Lets go keys whose time is over and whose job has ended, the longest over first; returns how many it has dealt with. One
-- whose job is unfinished is from now on held as if it had had no time, and not met again. Safe to run from every worker at
-- once; waits for nobody. Reads keys_until_idx, jobs_pkey. Locks: keys, SKIP LOCKED.
create or replace function dtsched.free_expired_keys(p_limit integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_keys text[] := array(
        select taken.key
        from dtsched.keys taken
        where taken.until <= dtsched.now()
        order by taken.until
        limit p_limit
        for update skip locked);
begin
    -- Who ends a job locks its key, whatever becomes of it. So with the keys in hand, and in a new statement, a job is either
    -- seen to have ended, or free_keys() is still to come and will see what is written here.
    delete from dtsched.keys taken
    where taken.key = any (v_keys)
        and not exists (
            select from dtsched.jobs job
            where job.id = taken.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running'));
    update dtsched.keys taken set until = null where taken.key = any (v_keys);
    return cardinality(v_keys);
end $$;

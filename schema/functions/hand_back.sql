-- Takes leases away and gives their jobs back: to ready, to cancelled when that was asked for, or to failed when their
-- attempts are used up or they have crashed as many workers as their task's max_crashes says (3). p_started says that a handler had begun: then it counts as a
-- crash, otherwise the attempt is restored. Nobody waits for a user's transaction: a lease is left alone when somebody else
-- holds its job's row, its limit key, or, if the job ends by this, a row of those that depend on it. The caller holds the
-- leases' locks. Returns a row per job with its new state. Locks: limits sorted, lock_jobs's, then hand_back_free's.
create or replace function dtsched.hand_back(p_leases bigint[], p_started boolean, p_reason text)
returns table (job_id bigint, lease_id bigint, state text)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '100ms'
as $$
#variable_conflict use_column
declare
    v_limit_keys text[] := array(
        select distinct lease.limit_key from dtsched.leases lease where lease.id = any (p_leases) and lease.limit_key is not null);
    v_busy text[] := '{}';
    v_leases bigint[] := p_leases;
    v_held bigint[];
    v_free bigint[];
    v_ending bigint[];
    v_lease bigint;
begin
    perform dtsched.require_read_committed();
    if v_limit_keys <> '{}' then
        v_busy := dtsched.try_limits(v_limit_keys);
        v_leases := array(select lease.id from dtsched.leases lease
                          where lease.id = any (p_leases) and (lease.limit_key = any (v_busy)) is not true);
    end if;
    v_held := dtsched.lock_jobs(array(select lease.job_id from dtsched.leases lease where lease.id = any (v_leases)));
    select coalesce(array_agg(lease.id) filter (where not ends), '{}'), coalesce(array_agg(lease.id) filter (where ends), '{}')
    into v_free, v_ending
    from dtsched.leases lease
    left join dtsched.jobs job on job.id = lease.job_id
    cross join lateral (select lease.cancel_requested_at is not null or lease.gave_up_key
        or coalesce(p_started and (job.attempt >= job.max_attempts or job.crash_count + 1 >= dtsched.max_crashes(job.task)), false))
        as decided (ends)
    where lease.id = any (v_leases) and lease.job_id <> all (v_held);
    return query select * from dtsched.hand_back_free(v_free, p_started, p_reason);
    foreach v_lease in array v_ending loop
        begin
            return query select * from dtsched.hand_back_free(array[v_lease], p_started, p_reason);
        exception
            when lock_not_available then null;
        end;
    end loop;
end $$;

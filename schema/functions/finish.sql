-- Ends attempts whose leases the worker holds, and returns the lease ids that were accepted. A lease that is gone (finished
-- before, rescued, handed back) is left out and nothing happens to its job: the lease row is the right to finish.
--
-- p_done are completed attempts, p_results null or a JSON array as long as p_done. p_others are the rest, as
-- [{"lease": 1, "outcome": "retry" | "fail" | "snooze" | "cancel", "delay": seconds?, "error": {"type", "message",
-- "traceback"}?, "wait": step?}]. A retry without a delay waits retry_delay(); one whose attempts are used up fails. A snooze gives its
-- attempt back; with "wait" it lasts as long as that sleep or wait of the job's (see start_sleep, await_event). A job whose cancellation was asked for while it ran ends cancelled, whatever its outcome.
--
-- A lease with a secret is left out too: only finish_lease(), which is shown it, ends that.
--
-- "(worker_id = …) is true" here and below keeps the planner on leases_pkey: by leases_worker_idx it would walk the worker's
-- dead entries, three times the cost of everything else (measured).
-- Locks: leases by id, limit keys sorted, jobs by id, keys sorted, then what release_children and cancel_descendants take, and
-- last note_failures's.
create or replace function dtsched.finish(
    p_worker uuid,
    p_done bigint[],
    p_results jsonb default null,
    p_others jsonb default null
)
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_others bigint[];
    v_limit_keys text[];
begin
    perform dtsched.require_read_committed();
    -- a SET clause would be undone before the commit, where it counts
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if p_others is not null and p_others <> '[]' then
        v_others := array(select (other ->> 'lease')::bigint from jsonb_array_elements(p_others) other);
        with locked as materialized (  -- of both halves: one after the other would not be in id order
            select lease.limit_key
            from dtsched.leases lease
            where lease.id = any (p_done || v_others) and (lease.worker_id = p_worker) is true and lease.secret is null
            order by lease.id
            for update
        )
        select array_agg(locked.limit_key) filter (where locked.limit_key is not null) into v_limit_keys from locked;
        if v_limit_keys is not null then
            perform dtsched.lock_limits(v_limit_keys);
        end if;
        if cardinality(p_done) > 0 then  -- and their jobs, which link_parents may be share-locking in id order
            perform from dtsched.jobs job
            where job.id = any (array(
                select lease.job_id
                from dtsched.leases lease
                where lease.id = any (p_done || v_others) and (lease.worker_id = p_worker) is true and lease.secret is null))
            order by job.id
            for no key update;
        end if;
    end if;
    if cardinality(p_done) > 0 then
        return query select dtsched.finish_completed(p_worker, p_done, p_results);
    end if;
    if v_others is not null then
        return query select dtsched.finish_others(p_worker, p_others);
    end if;
end $$;

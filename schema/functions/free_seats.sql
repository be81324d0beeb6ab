-- Gives each of these limit keys, of which leases have ended, a turn in the lanes of every queue where jobs of it wait.
-- The caller has taken the leases away, and locked the keys' rows (lock_limits) before it calls this: a claim that saw the seats
-- as taken has committed by now, and what it left waiting is seen here. Reads parked_limit_idx.
create or replace function dtsched.free_seats(p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    insert into dtsched.ready (queue, priority, job_id, limit_key)
    with recursive head (limit_key, queue, priority, job_id) as (
        select wanted.limit_key, first.queue, first.priority, first.job_id
        from (select distinct limit_key from unnest(p_keys) limit_key) wanted
        cross join lateral (
            select entry.queue, entry.priority, entry.job_id
            from dtsched.parked entry
            where entry.limit_key = wanted.limit_key and entry.reason = 'limit'
            order by entry.queue, entry.priority desc, entry.job_id
            limit 1) first
        union all
        select head.limit_key, next.queue, next.priority, next.job_id
        from head
        cross join lateral (
            select entry.queue, entry.priority, entry.job_id
            from dtsched.parked entry
            where entry.limit_key = head.limit_key and entry.reason = 'limit' and entry.queue > head.queue
            order by entry.queue, entry.priority desc, entry.job_id
            limit 1) next
    )
    select head.queue, 10 + head.priority, head.job_id, head.limit_key from head
    on conflict do nothing;
end $$;

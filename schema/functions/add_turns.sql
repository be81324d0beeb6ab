-- Gives each of these limit keys a turn in a queue if jobs of it wait there, whether one may start or not: one turn too many
-- does no harm. Reads parked_limit_idx.
create or replace function dtsched.add_turns(p_queue text, p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    insert into dtsched.ready (queue, priority, job_id, limit_key)
    select p_queue, 10 + head.priority, head.job_id, wanted.limit_key
    from unnest(p_keys) wanted (limit_key)
    cross join lateral (
        select entry.priority, entry.job_id
        from dtsched.parked entry
        where entry.limit_key = wanted.limit_key and entry.queue = p_queue and entry.reason = 'limit'
        order by entry.priority desc, entry.job_id
        limit 1) head
    on conflict do nothing;
end $$;

-- Gives each of these limit keys, of which leases have ended, a turn in the lanes of every queue where jobs of it wait.
-- The caller has locked the keys' rows (lock_limits) before it took the leases away: a claim that saw them as taken has
-- committed by now, and what it left waiting is seen here. Reads parked_limit_idx.
create or replace function dtsched.free_seats(p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_queue text;
    v_keys text[];
begin
    for v_queue, v_keys in
        with recursive waiting (limit_key, queue) as (
            select wanted.limit_key, (select min(entry.queue) from dtsched.parked entry
                                      where entry.limit_key = wanted.limit_key and entry.reason = 'limit')
            from (select distinct limit_key from unnest(p_keys) limit_key) wanted
            union all
            select waiting.limit_key, (select min(entry.queue) from dtsched.parked entry
                                       where entry.limit_key = waiting.limit_key and entry.reason = 'limit'
                                           and entry.queue > waiting.queue)
            from waiting
            where waiting.queue is not null
        )
        select waiting.queue, array_agg(waiting.limit_key)
        from waiting
        where waiting.queue is not null
        group by waiting.queue
    loop
        perform dtsched.add_turns(v_queue, v_keys);
    end loop;
end $$;

-- Has workers look at a queue again after its limits have changed: every limit key of which jobs wait there gets a turn.
-- Reads parked_limit_idx, key by key.
create or replace function dtsched.look_at(p_queue text) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform dtsched.add_turns(p_queue, array(
        with recursive key (limit_key) as (
            select min(entry.limit_key) from dtsched.parked entry where entry.reason = 'limit'
            union all
            select (select min(entry.limit_key) from dtsched.parked entry
                    where entry.reason = 'limit' and entry.limit_key > key.limit_key)
            from key
            where key.limit_key is not null
        )
        select key.limit_key from key where key.limit_key is not null));
    if dtsched.may_notify() then
        perform pg_notify('dtsched_wake', p_queue);
    end if;
end $$;

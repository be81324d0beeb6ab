-- Has promote() look at limit keys of a queue (null for the queue itself) again when their time has come, and tells those who
-- promote that there is something to wait for. Nothing is unique here, so nobody waits for anybody: one wake too many does no
-- harm, and whoever takes one away gives the key a turn if he sees jobs of it wait. What the caller sees he may not, so one that is
-- there already is relied on only if nobody can take it away before this transaction has ended: it is locked, and what is due or
-- locked by somebody does not count. Reads wakes_key_idx. Locks: wakes SKIP LOCKED.
create or replace function dtsched.wake_later(p_queue text, p_keys text[], p_at timestamptz[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    insert into dtsched.wakes (queue, limit_key, at)
    select p_queue, later.limit_key, later.at
    from unnest(p_keys, p_at) as later (limit_key, at)
    where not exists (
        select from dtsched.wakes wake
        where wake.queue = p_queue and wake.limit_key is not distinct from later.limit_key
            and wake.at <= later.at and wake.at > dtsched.now()
        for key share skip locked);
    if found and dtsched.may_notify() then
        perform pg_notify('dtsched_due', '');
    end if;
end $$;

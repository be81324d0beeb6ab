-- lock_limits() for who may not wait for a user's transaction: waits as long as lock_timeout, then locks those that are free.
-- Returns the others. Locks: limits sorted.
create or replace function dtsched.try_limits(p_keys text[]) returns text[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_locked text[];
begin
    begin
        perform dtsched.lock_limits(p_keys);
        return '{}';
    exception
        when lock_not_available then null;
    end;
    v_locked := array(
        select limited.limit_key
        from dtsched.limits limited
        where limited.limit_key = any (p_keys)
        order by limited.limit_key
        for no key update skip locked);
    return array(select limit_key from unnest(p_keys) limit_key where limit_key <> all (v_locked));
end $$;

-- Locks these limit keys, as whoever takes a lease of them away has to before anything else is decided: else a claim that has
-- seen the lease may drop the key's turn, and nobody would notice that the seat came free. Locks: limits, sorted.
create or replace function dtsched.lock_limits(p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform from dtsched.limits limited where limited.limit_key = any (p_keys) order by limited.limit_key for no key update;
end $$;

-- Deletes remembered answers of requests whose day is over, at most p_limit; returns how many. Safe to run from every worker at
-- once; waits for nobody. Reads idempotency_until_idx. Locks: idempotency, SKIP LOCKED.
create or replace function dtsched.forget_answers(p_limit integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_count integer;
begin
    with old as materialized (
        select remembered.caller, remembered.key
        from dtsched.idempotency remembered
        where remembered.until <= dtsched.now()
        order by remembered.until
        limit p_limit
        for update skip locked
    )
    delete from dtsched.idempotency remembered
    using old
    where remembered.caller = old.caller and remembered.key = old.key;
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- Forgets what leases of workers over HTTP were finished with longer ago than p_age: by then nobody repeats it. At most p_limit;
-- returns how many. Safe to run from every worker at once. Reads receipts_at_idx. Locks: what it deletes, SKIP LOCKED.
create or replace function dtsched.forget_receipts(p_age interval default '1 hour', p_limit integer default 1000)
returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_count integer;
begin
    delete from dtsched.receipts receipt
    where receipt.lease_id = any (array(
        select old.lease_id
        from dtsched.receipts old
        where old.at < dtsched.now() - p_age
        order by old.at
        limit p_limit
        for update skip locked));
    get diagnostics v_count = row_count;
    return v_count;
end $$;

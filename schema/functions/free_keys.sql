-- Lets go the keys that these jobs held, but those that are held for longer. A key that another job has taken from one of
-- them is not touched: this never waits for a submitter. What stays is locked too, see free_expired_keys().
-- Locks: the keys, sorted.
create or replace function dtsched.free_keys(p_keys text[], p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform from dtsched.keys taken
    where taken.key = any (p_keys) and taken.job_id = any (p_jobs)
    order by taken.key
    for update;
    delete from dtsched.keys taken
    where taken.key = any (p_keys) and taken.job_id = any (p_jobs)
        and (taken.until is null or taken.until <= dtsched.now());
end $$;

-- Takes one watch_ended() with the same buckets back.
create or replace function dtsched.unwatch_ended(p_buckets integer[]) returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    perform pg_advisory_unlock_shared(dtsched.gate() + 1, bucket) from unnest(p_buckets) bucket;
    perform pg_advisory_unlock_shared(dtsched.gate() + 1);
end $$;

-- Takes watch_feed() back.
create or replace function dtsched.unwatch_feed() returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    perform pg_advisory_unlock_shared(dtsched.feed_gate());
end $$;

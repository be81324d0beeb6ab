-- Lets go what one call of hungry() with the same queues took.
create or replace function dtsched.sated(p_queues text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    perform pg_advisory_unlock_shared(dtsched.gate(), hashtext(queue.name)) from unnest(p_queues) as queue (name);
    perform pg_advisory_unlock_shared(dtsched.gate());
end $$;

-- The first half of the advisory locks of events; the second is the hash of the name.
create or replace function dtsched.event_gate() returns integer
language sql immutable parallel safe
as $$ select 1146574693 $$;

-- The first half of the advisory locks of what one does at a time: 1 makes partitions, 2 rolls up counts, 17 prunes, 41 sets the
-- ids of leases forward. Its own, because the second half of others is the hash of a name, which may be any number.
create or replace function dtsched.chores_gate() returns integer
language sql immutable parallel safe
as $$ select dtsched.gate() + 5 $$;

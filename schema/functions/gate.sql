-- The advisory lock that says "a worker is hungry" (alone), and "hungry for this queue" (with the hash of its name).
create or replace function dtsched.gate() returns integer
language sql immutable parallel safe
as $$ select 1146377027 $$;

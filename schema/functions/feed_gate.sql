-- The advisory lock that says "somebody watches the feed"; with 0, that somebody is about to.
create or replace function dtsched.feed_gate() returns integer
language sql immutable parallel safe
as $$ select dtsched.gate() + 4 $$;

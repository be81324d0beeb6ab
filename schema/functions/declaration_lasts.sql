-- How long after it was last heard a declaration counts as that of running code: workers repeat theirs each minute.
create or replace function dtsched.declaration_lasts() returns interval
language sql immutable parallel safe
as $$ select interval '3 minutes' $$;

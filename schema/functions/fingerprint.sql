-- The name of a kind of error: 16 hexadecimal digits of its shape's digest. Costs about 20 us: told to the planner, which then asks
-- for what is cheaper first.
create or replace function dtsched.fingerprint(p_error text) returns text
language sql immutable cost 1000
set search_path = pg_catalog, dtsched, pg_temp
as $$ select left(encode(sha256(convert_to(dtsched.error_shape(p_error), 'UTF8')), 'hex'), 16) $$;

-- The number of the contract between the database and the programs that use it; 0 when none is installed.
create or replace function dtsched.version() returns integer
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select coalesce((select contract from dtsched.installed), 0) $$;

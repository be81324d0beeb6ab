-- What tells one set of retentions from another.
create or replace function dtsched.retention_digest() returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$ select md5(string_agg(rule::text, ',' order by rule.queue)) from dtsched.retention() rule $$;

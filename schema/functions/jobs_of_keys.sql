-- The unfinished job that holds each of these keys; a key that nobody holds is left out.
create or replace function dtsched.jobs_of_keys(p_keys text[]) returns table (key text, job_id bigint)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$ select taken.key, taken.job_id from dtsched.keys taken where taken.key = any (p_keys) $$;

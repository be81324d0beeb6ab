-- The names of the steps, sleeps and waits that a job has come to in this attempt or an earlier one. Reads steps_pkey.
create or replace function dtsched.begun_steps(p_job bigint) returns setof text
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select step.name::text from dtsched.steps step where step.job_id = p_job $$;

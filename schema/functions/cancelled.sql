-- Those of these jobs that are cancelled. Reads jobs_pkey, whatever the size of jobs.
create or replace function dtsched.cancelled(p_ids bigint[]) returns bigint[]
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$ select array(select job.id from dtsched.jobs job where job.id = any (p_ids) and job.state = 'cancelled') $$;

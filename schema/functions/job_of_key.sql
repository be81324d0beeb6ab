-- The job that holds a key, if it is of one of p_queues (null: of any): an unfinished one, or one that has ended and keeps its
-- key for longer. No row when nobody holds it: who once had it, no index knows. Reads keys_pkey, and what job() reads.
create or replace function dtsched.job_of_key(p_key text, p_queues text[] default null) returns setof bigint
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select job.id
    from dtsched.jobs job
    where job.id = dtsched.holder_of(p_key) and (p_queues is null or job.queue = any (p_queues))
$$;

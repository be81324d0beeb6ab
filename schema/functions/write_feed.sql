-- What tell() writes. Reads jobs_pkey.
create or replace function dtsched.write_feed(p_jobs bigint[], p_event text, p_state text) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    insert into dtsched.feed (event, job_id, queue, task, state, attempt)
    select coalesce(p_event, job.state), job.id, job.queue, job.task, job.state, job.attempt
    from dtsched.jobs job
    where job.id = any (p_jobs) and (p_state is null or job.state = p_state)
    order by job.id;
end $$;

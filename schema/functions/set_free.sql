-- Lets blocked jobs go on to ready, or to scheduled when their time has not come. Locks: jobs by id.
create or replace function dtsched.set_free(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    with freed as (
        update dtsched.jobs job
        set state = case when job.run_at > dtsched.now() then 'scheduled' else 'ready' end
        where job.id = any (p_jobs) and job.state = 'blocked'
        returning job.id, job.queue, job.priority, job.state, job.run_at
    ),
    later as (
        insert into dtsched.scheduled (run_at, job_id, queue)
        select freed.run_at, freed.id, freed.queue from freed where freed.state = 'scheduled'
        on conflict on constraint scheduled_pkey do update set queue = excluded.queue  -- an old entry, which fits again
    )
    insert into dtsched.ready (queue, priority, job_id)
    select freed.queue, freed.priority, freed.id from freed where freed.state = 'ready';
end $$;

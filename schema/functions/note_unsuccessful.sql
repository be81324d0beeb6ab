-- Puts jobs that have just failed or been cancelled where lists and counts find them, and tells those who wait for them.
create or replace function dtsched.note_unsuccessful(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    with ended as materialized (
        select job.id, job.state, job.queue, job.task,
            extract(epoch from last.started_at - coalesce(job.run_at, job.created_at))::double precision as wait_seconds,
            extract(epoch from job.finished_at - last.started_at)::double precision as run_seconds
        from dtsched.jobs job
        -- one that waited for its next attempt started before it was due
        cross join lateral (select case when job.started_at >= coalesce(job.run_at, job.created_at) then job.started_at end
                            as started_at) last
        where job.id = any (p_jobs) and job.state in ('failed', 'cancelled')
    ),
    found_by as (
        insert into dtsched.unsuccessful (state, job_id)
        select ended.state, ended.id from ended order by ended.state, ended.id
        on conflict do nothing
    )
    insert into dtsched.tallies (queue, task, event, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
    select ended.queue, ended.task, case ended.state when 'failed' then 'fail' else 'cancel' end,
        dtsched.bucket(ended.wait_seconds), dtsched.bucket(ended.run_seconds), count(*),
        coalesce(sum(ended.wait_seconds), 0), coalesce(sum(ended.run_seconds), 0)
    from ended
    group by 1, 2, 3, 4, 5;
    perform dtsched.announce_ended(p_jobs);
    perform dtsched.tell_feed(p_jobs, null);
end $$;

-- Moves the end of what these jobs are parked for, a sleep or the wait for an event, with their run_at: move() calls it before
-- it changes that. The caller holds the jobs' rows. Reads steps_pkey. Locks: steps.
create or replace function dtsched.move_waits(p_jobs bigint[], p_until timestamptz) returns void
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    update dtsched.steps step
    set until = p_until
    from dtsched.jobs job
    where job.id = any (p_jobs) and job.state = 'scheduled'
        and step.job_id = job.id and step.state = 'waiting' and step.until = job.run_at
$$;

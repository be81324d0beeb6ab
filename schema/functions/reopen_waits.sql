-- Forgets the waits for events that jobs which are retried had not ended well, so that they begin anew with their whole
-- timeout, and has such jobs run at once to do so. What was done stays remembered, and a sleep ends when it would have.
-- The caller holds the jobs' rows. Reads steps_pkey. Locks: steps.
create or replace function dtsched.reopen_waits(p_jobs bigint[]) returns void
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    with reopened as (
        delete from dtsched.steps step
        where step.job_id = any (p_jobs) and step.kind = 'event' and step.state in ('waiting', 'timeout')
        returning step.job_id, step.until
    )
    update dtsched.jobs job
    set run_at = dtsched.now()
    where exists (select from reopened where reopened.job_id = job.id and reopened.until = job.run_at)
        and job.id = any (p_jobs)
$$;

-- Forgets what these jobs remember: whoever deletes a job calls it. A wait whose row an emit() holds is left to
-- forget_events(). Reads steps_pkey, event_waits_job_idx. Locks: steps; waits SKIP LOCKED.
create or replace function dtsched.drop_steps(p_jobs bigint[]) returns void
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    delete from dtsched.steps step where step.job_id = any (p_jobs);
    delete from dtsched.event_waits wait
    where wait.ctid = any (array(
        select old.ctid from dtsched.event_waits old where old.job_id = any (p_jobs) for update skip locked));
$$;

-- Writes one job_events row for each job that a statement made, moved or deleted. An ended job that is ended again counts
-- as a move although its state stays: that is what the trace is there to catch. Trigger on jobs, laid by trace(). Locks nothing.
create or replace function dtsched.record_transitions() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_stack text;
begin
    get diagnostics v_stack = pg_context;
    if tg_op = 'INSERT' then
        insert into dtsched.job_events (job_id, from_state, to_state, attempt, worker_id, run_at, who)
        select job.id, null, job.state, job.attempt, job.worker_id, job.run_at, dtsched.called(v_stack)
        from new_jobs job
        order by job.id;
    elsif tg_op = 'UPDATE' then
        insert into dtsched.job_events (job_id, from_state, to_state, attempt, worker_id, run_at, who)
        select new_job.id, old_job.state, new_job.state, new_job.attempt, new_job.worker_id, new_job.run_at,
            dtsched.called(v_stack)
        from new_jobs new_job
        join old_jobs old_job on old_job.id = new_job.id
        where (old_job.state, old_job.finished_at) is distinct from (new_job.state, new_job.finished_at)
        order by new_job.id;
    else
        insert into dtsched.job_events (job_id, from_state, to_state, attempt, worker_id, run_at, who)
        select job.id, job.state, null, job.attempt, job.worker_id, job.run_at, dtsched.called(v_stack)
        from old_jobs job
        order by job.id;
    end if;
    return null;
end $$;

-- What a worker tells of jobs while it runs them, and the leases that were accepted, as finish() does: p_reports is
-- [{"lease": 1, "progress": {"percent": 40?, "message": "40 of 100"?}?, "lines": [{"message": "text", "level": "info"?,
-- "logger": "shop"?, "ago": 0.2?, "seq": 1?}]?}], one report a lease. A lease that is gone, or whose job's row somebody
-- holds, is left out and nothing happens; in the second case it may be reported again.
--
-- progress takes the place of what was there. lines are added to those of the job: after 9,999 of them a last one says that
-- what follows is dropped. `ago` is how many seconds ago a line was written, by the worker's own watch: the database's clock
-- makes a time of it. `seq` counts the lines of the attempt: what is sent twice, because the answer was lost, is stored
-- once. Text is cut to 500 characters (progress), 4,000 (lines) and 200 (loggers).
--
-- The end of a lease and the change of its job's row commit together, and the row is held here: a lease that is seen while
-- it is held is that of the running attempt until this commits, so nothing is told of a job that has ended, and lines of
-- one job are numbered one call after the other. Raises JQ001 for what is no report.
-- Reads leases_pkey, jobs_pkey, job_logs_pkey. Locks: jobs by id, SKIP LOCKED.
create or replace function dtsched.report(p_worker uuid, p_reports jsonb) returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    return query select dtsched.tell(p_worker, p_reports, false);
end $$;

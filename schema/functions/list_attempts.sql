-- The attempts of a job that did not simply succeed, newest first, at most 200. outcome is retry, fail, cancel or crash.
-- Reads attempts_pkey.
create or replace function dtsched.list_attempts(p_job bigint)
returns table (
    attempt integer,
    outcome text,
    error_type text,
    message text,
    traceback text,
    worker_id uuid,
    started_at timestamptz,
    finished_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select made.attempt, made.outcome, made.error_type, made.message, made.traceback, made.worker_id, made.started_at,
        made.finished_at
    from dtsched.attempts made
    where made.job_id = p_job
    order by made.lease_id desc
    limit 200
$$;

-- What the handlers of a job have logged, in order, at most 1,000 lines a call: `line` of the last one is the p_after of the
-- call that follows. Lines of a job are committed in the order of their numbers, so whoever goes on from the last one misses
-- none, also while the job runs; when it has ended no more are added. p_attempt leaves out other attempts.
-- Reads job_logs_pkey.
create or replace function dtsched.list_logs(
    p_job bigint,
    p_after integer default 0,
    p_limit integer default 1000,
    p_attempt integer default null
)
returns table (
    line integer,
    attempt integer,
    at timestamptz,
    level text,
    logger text,
    message text
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select logged.line, logged.attempt, logged.at, logged.level, logged.logger, logged.message
    from dtsched.job_logs logged
    where logged.job_id = p_job and logged.line > p_after and (p_attempt is null or logged.attempt = p_attempt)
    order by logged.line
    limit greatest(0, least(p_limit, 1000))
$$;

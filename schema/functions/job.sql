-- One job with everything that can be said of it, its result joined in from wherever it is kept; no row when there is none.
-- timeout is in seconds. key_until is 9999-12-31 23:59:59 UTC for a key that is kept as long as the job. A result that is past its
-- time is not shown, whether it has been dropped or not, but result_expired_at.
create or replace function dtsched.job(p_id bigint)
returns table (
    id bigint,
    queue text,
    task text,
    args jsonb,
    state text,
    priority integer,
    run_at timestamptz,
    attempt integer,
    max_attempts integer,
    timeout double precision,
    key text,
    limit_key text,
    depends_on bigint[],
    tags text[],
    result jsonb,
    error text,
    progress jsonb,
    worker_id uuid,
    correlation_id text,
    created_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    workflow_id bigint,
    skipped boolean,
    deadline timestamptz,
    key_until timestamptz,
    result_expired_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select job.id, job.queue::text, job.task::text, job.args::jsonb, job.state, job.priority::integer, job.run_at::timestamptz,
        job.attempt, job.max_attempts::integer, extract(epoch from job.timeout)::double precision, job.key::text,
        job.limit_key::text, job.depends_on::bigint[], job.tags::text[], case when expired.at is null then coalesce(stored.result, job.result) end, job.error,
        job.progress, job.worker_id, job.correlation_id::text, job.created_at, job.started_at, job.finished_at,
        job.workflow_id, job.skipped is true, job.deadline::timestamptz, dtsched.finite(job.key_until), expired.at
    from dtsched.jobs job
    left join dtsched.results stored on stored.job_id = job.id
    cross join lateral (
        select dtsched.result_expired(job.state, job.task, job.queue, job.finished_at, job.result_expired_at,
                                      job.result is not null or stored.job_id is not null)) expired (at)
    where job.id = p_id
$$;

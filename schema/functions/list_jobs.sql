-- Jobs, newest first, with the columns of job(); a null filter lets everything through, and the state 'pending' stands for
-- blocked, scheduled and ready. p_before is the id that the last page ended with. Walks jobs_pkey backwards.
create or replace function dtsched.list_jobs(
    p_state text default null,
    p_queue text default null,
    p_task text default null,
    p_before bigint default null,
    p_limit integer default 100
)
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
    finished_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select job.id, job.queue::text, job.task::text, job.args::jsonb, job.state, job.priority::integer, job.run_at::timestamptz,
        job.attempt, job.max_attempts::integer, extract(epoch from job.timeout)::double precision, job.key::text,
        job.limit_key::text, job.depends_on::bigint[], job.tags::text[], coalesce(stored.result, job.result), job.error,
        job.progress, job.worker_id, job.correlation_id::text, job.created_at, job.started_at, job.finished_at
    from dtsched.jobs job
    left join dtsched.results stored on stored.job_id = job.id
    where (p_before is null or job.id < p_before)
        and (p_state is null or job.state = p_state
             or p_state = 'pending' and job.state in ('blocked', 'scheduled', 'ready'))
        and (p_queue is null or job.queue = p_queue)
        and (p_task is null or job.task = p_task)
    order by job.id desc
    limit least(p_limit, 200)
$$;

-- Those of these jobs that have changed, p_versions being what was known of them (null: nothing): `watched` and the version now,
-- and everything else as job() has it; without a version and an id, the job is gone. At most p_limit of them. A version is the
-- transaction that last changed the job's row. Reads jobs_pkey.
create or replace function dtsched.watched_jobs(p_ids bigint[], p_versions text[], p_limit integer default 100)
returns table (
    watched bigint,
    version text,
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
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with changed as materialized (
        select asked.id, current.version
        from unnest(p_ids, p_versions) asked (id, version)
        left join lateral (
            select job.xmin::text as version from dtsched.jobs job where job.id = asked.id) current on true
        where current.version is distinct from asked.version or current.version is null
        limit p_limit
    )
    select changed.id, changed.version, job.*
    from changed
    left join lateral dtsched.job(changed.id) job on true
$$;

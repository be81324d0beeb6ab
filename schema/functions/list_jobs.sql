-- Jobs that fit a filter, newest first, with the columns of job(). A page costs a bounded amount of work: it looks at
-- 100,000 jobs at most. So it may be short, or empty, and not the last one: then a last row has no id, and scanned_to says
-- below which id (p_before) the next page begins. Without such a row there is nothing more, unless the page is full.
--
-- p_filter is an object whose members must all fit; each is a value, or an array of which one must fit: state ('pending' stands for
-- blocked, scheduled and ready), queue, task, key, limit_key, tag, priority, worker (name or id), correlation_id, id, workflow (id), error
-- (part of it, in any case), fingerprint (of its error, see list_errors), and args: [{"path": ["user", "id"], "value": "42"}, …], which must all fit. since and until,
-- submitted at or after, and before, are times, or {"seconds_ago": n}. Raises JQ001 for any other member,
-- and for what is no state or no id.
--
-- Reads unsuccessful_pkey for failed and cancelled jobs; leases, blocked, and ready and scheduled if they are not too long,
-- for those; jobs_workflow_idx for workflows; jobs_pkey backwards for all others.
create or replace function dtsched.list_jobs(
    p_filter jsonb default '{}',
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
    finished_at timestamptz,
    workflow_id bigint,
    skipped boolean,
    deadline timestamptz,
    key_until timestamptz,
    result_expired_at timestamptz,
    scanned_to bigint
)
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_found bigint[] := '{}';
    v_scanned_to bigint;
begin
    select found.ids, found.scanned_to
    into v_found, v_scanned_to
    from dtsched.find_jobs(p_filter, p_before, least(p_limit, 200)) found;
    return query
    select job.id, job.queue::text, job.task::text, job.args::jsonb, job.state, job.priority::integer,
        job.run_at::timestamptz, job.attempt, job.max_attempts::integer,
        extract(epoch from job.timeout)::double precision, job.key::text, job.limit_key::text, job.depends_on::bigint[],
        job.tags::text[], case when expired.at is null then coalesce(stored.result, job.result) end, job.error, job.progress, job.worker_id,
        job.correlation_id::text, job.created_at, job.started_at, job.finished_at,
        job.workflow_id, job.skipped is true, job.deadline::timestamptz, dtsched.finite(job.key_until), expired.at,
        null::bigint
    from dtsched.jobs job
    left join dtsched.results stored on stored.job_id = job.id
    cross join lateral (
        select dtsched.result_expired(job.state, job.task, job.queue, job.finished_at, job.result_expired_at,
                                      job.result is not null or stored.job_id is not null)) expired (at)
    where job.id = any (v_found)
    order by job.id desc;
    if v_scanned_to is not null then
        scanned_to := v_scanned_to;
        return next;
    end if;
end $$;

-- The schedules by name; only p_name if given. What is null of the job's options is the default of a submission. next_at is
-- null while the schedule is paused or has a problem, when it is yet to be computed (which takes a second or two), and when it
-- will never fire again. last_outcome is what became of last_tick (fired, skipped, missed); null after a week. edited says that
-- the definition is another one than running code has declared; null without a declaration.
create or replace function dtsched.list_schedules(p_name text default null)
returns table (
    name text,
    spec text,
    tz text,
    task text,
    args jsonb,
    queue text,
    priority smallint,
    max_attempts integer,
    timeout double precision,
    limit_key text,
    tags text[],
    backoff jsonb,
    catchup text,
    catchup_limit integer,
    overlap text,
    tolerance double precision,
    paused_at timestamptz,
    problem text,
    next_at timestamptz,
    last_tick timestamptz,
    last_outcome text,
    last_job_id bigint,
    declared_at timestamptz,
    edited boolean,
    version bigint,
    created_at timestamptz,
    updated_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select planned.name::text, planned.spec, planned.tz, planned.task::text, planned.args::jsonb, planned.queue::text,
        planned.priority::smallint, planned.max_attempts::integer,
        extract(epoch from planned.timeout::interval)::double precision, planned.limit_key::text, planned.tags::text[],
        planned.backoff, planned.catchup, planned.catchup_limit, planned.overlap,
        extract(epoch from planned.tolerance)::double precision, planned.paused_at, planned.problem,
        case when planned.paused_at is null and planned.problem is null then nullif(planned.next_at, 'infinity') end,
        planned.last_tick, last.outcome, planned.last_job_id, planned.declared_at,
        '{"args": {}, "tz": "UTC", "catchup": "latest", "catchup_limit": 100, "overlap": "allow", "tolerance": 60}'
            || planned.declared <> dtsched.schedule_fields(planned),
        planned.version, planned.created_at, planned.updated_at
    from dtsched.schedules planned
    left join dtsched.ticks last on last.schedule = planned.name and last.tick = planned.last_tick
    where p_name is null or planned.name = p_name
    order by planned.name collate "C"
$$;

-- What a job remembers: its steps, sleeps and waits in the order in which they began, at most 1000. result is null when it is
-- longer than 10,000 bytes as text; result_bytes says how long it is. Reads steps_pkey.
create or replace function dtsched.list_steps(p_job bigint)
returns table (
    name text,
    kind text,
    state text,
    result jsonb,
    result_bytes integer,
    event text,
    until timestamptz,
    attempt integer,
    worker_id uuid,
    begun_at timestamptz,
    ended_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select step.name::text, step.kind, step.state,
        case when written.bytes <= 10000 then step.result end, written.bytes, step.event::text, step.until, step.attempt,
        step.worker_id, step.begun_at, step.ended_at
    from dtsched.steps step
    cross join lateral (select octet_length(step.result::text) as bytes) written
    where step.job_id = p_job
    order by step.begun_at, step.name
    limit 1000
$$;

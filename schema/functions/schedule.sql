-- Makes a schedule, or gives the one of that name another definition, and returns true when it is new; see save_schedule().
create or replace function dtsched.schedule(
    name text,
    spec text,
    task text,
    args jsonb default '{}',
    tz text default null,
    queue text default null,
    priority integer default null,
    max_attempts integer default null,
    timeout interval default null,
    limit_key text default null,
    tags text[] default null,
    backoff jsonb default null,
    catchup text default null,
    catchup_limit integer default null,
    overlap text default null,
    tolerance interval default null
)
returns boolean
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select dtsched.save_schedule(schedule.name, jsonb_build_object(
        'spec', schedule.spec,
        'task', schedule.task,
        'args', schedule.args,
        'tz', schedule.tz,
        'queue', schedule.queue,
        'priority', schedule.priority,
        'max_attempts', schedule.max_attempts,
        'timeout', extract(epoch from schedule.timeout),
        'limit_key', schedule.limit_key,
        'tags', schedule.tags,
        'backoff', schedule.backoff,
        'catchup', schedule.catchup,
        'catchup_limit', schedule.catchup_limit,
        'overlap', schedule.overlap,
        'tolerance', extract(epoch from schedule.tolerance)
    ))
$$;

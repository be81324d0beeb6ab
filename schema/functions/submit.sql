-- Submits one job and returns its id, or the id of the job that holds its key: on_conflict says what becomes
-- of that one, see submit_many(). key_for is unfinished, kept, or an interval such as '10 minutes'. Raises as submit_many()
-- does.
create or replace function dtsched.submit(
    task text,
    args jsonb default '{}',
    queue text default null,
    priority integer default null,
    run_at timestamptz default null,
    delay interval default null,
    key text default null,
    max_attempts integer default null,
    timeout interval default null,
    limit_key text default null,
    depends_on bigint[] default null,
    tags text[] default null,
    backoff jsonb default null,
    deadline timestamptz default null,
    correlation_id text default null,
    key_for text default null,
    on_conflict text default null,
    on_parent_failure text default null,
    workflow bigint default null,
    expires_in interval default null
)
returns bigint
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select submitted.id
    from dtsched.submit_many(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'queue', submit.queue,
        'priority', submit.priority,
        'run_at', submit.run_at,
        'delay', extract(epoch from submit.delay),
        'key', submit.key,
        'max_attempts', submit.max_attempts,
        'timeout', extract(epoch from submit.timeout),
        'limit_key', submit.limit_key,
        'depends_on', submit.depends_on,
        'tags', submit.tags,
        'backoff', submit.backoff,
        'deadline', submit.deadline,
        'correlation_id', submit.correlation_id,
        'key_for', dtsched.key_time(submit.key_for),
        'on_conflict', submit.on_conflict,
        'on_parent_failure', submit.on_parent_failure,
        'workflow', submit.workflow,
        'expires_in', extract(epoch from submit.expires_in)
    )) || jsonb_build_object('task', submit.task, 'args', submit.args))) submitted
$$;

-- The definition of a schedule as save_schedule() takes it; what is the default is left out.
create or replace function dtsched.schedule_fields(p_schedule dtsched.schedules) returns jsonb
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select coalesce(jsonb_object_agg(field.key, field.value) filter (where field.value <> 'null'), '{}')
    from jsonb_each(jsonb_build_object(
        'spec', p_schedule.spec,
        'tz', p_schedule.tz,
        'task', p_schedule.task,
        'args', p_schedule.args,
        'queue', p_schedule.queue,
        'priority', p_schedule.priority,
        'max_attempts', p_schedule.max_attempts,
        'timeout', extract(epoch from p_schedule.timeout::interval),
        'limit_key', p_schedule.limit_key,
        'tags', p_schedule.tags,
        'backoff', p_schedule.backoff,
        'catchup', p_schedule.catchup,
        'catchup_limit', p_schedule.catchup_limit,
        'overlap', p_schedule.overlap,
        'tolerance', extract(epoch from p_schedule.tolerance)
    )) field
$$;

-- Submits the jobs of a schedule, one for each of these moments, which become their run_at, and returns them in that order;
-- where overlap is skip and another job of the schedule is unfinished, that one, not created. The caller holds the schedule's
-- row. Locks: submit_many's.
--
-- With overlap skip the jobs hold the key "schedule:NAME", so that of those that the schedule has submitted, and of those that
-- somebody retries, there is at most one unfinished.
create or replace function dtsched.submit_scheduled(p_schedule dtsched.schedules, p_moments timestamptz[]) 
returns table (job_id bigint, created boolean)
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select submitted.id, submitted.created
    from dtsched.submit_many((
        select jsonb_agg(jsonb_build_object(
            'task', p_schedule.task,
            'args', p_schedule.args,
            'queue', p_schedule.queue,
            'priority', p_schedule.priority,
            'max_attempts', p_schedule.max_attempts,
            'timeout', extract(epoch from p_schedule.timeout::interval),
            'limit_key', p_schedule.limit_key,
            'tags', p_schedule.tags,
            'backoff', p_schedule.backoff,
            'run_at', moment.at,
            'key', case p_schedule.overlap when 'skip' then 'schedule:' || p_schedule.name end
        ) order by moment.n)
        from unnest(p_moments) with ordinality moment (at, n)), false)
    with ordinality submitted (id, created, error, outcome, code, field, n)
    order by submitted.n
$$;

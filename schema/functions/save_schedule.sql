-- Makes a schedule, or gives one another definition, and returns true when it is new. p_fields is an object of spec, task,
-- args, tz, queue, priority, max_attempts, timeout (seconds), limit_key, tags, backoff, catchup (skip, latest, all),
-- catchup_limit, overlap (allow, skip, cancel) and tolerance (seconds); what is missing or null is the default. With p_merge
-- the schedule has to be there, and what is missing stays as it is. It is in force at once, and its next tick is computed by a
-- worker or a server within a second or two. Raises JQ001 for what is wrong, JQ002 for a task that no worker has declared
-- (as long as any has been; not with p_check_tasks false), JQ004 with p_merge when there is none. Locks: the schedule's row.
create or replace function dtsched.save_schedule(
    p_name text,
    p_fields jsonb,
    p_merge boolean default false,
    p_check_tasks boolean default true
)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_old dtsched.schedules;
    v_fields jsonb := p_fields;
    v_problem text;
    v_is_new boolean;
begin
    if jsonb_typeof(v_fields -> 'spec') = 'string' then
        v_fields := jsonb_set(v_fields, '{spec}', to_jsonb(btrim(regexp_replace(v_fields ->> 'spec', '\s+', ' ', 'g'))));
    end if;
    if p_merge then
        select schedule.* into v_old from dtsched.schedules schedule where schedule.name = p_name for no key update;
        if not found then
            raise exception 'there is no schedule %', dtsched.shown(to_jsonb(p_name)) using errcode = 'JQ004';
        end if;
        if jsonb_typeof(v_fields) = 'object' then
            v_fields := dtsched.schedule_fields(v_old) || v_fields;
        end if;
    end if;
    v_problem := dtsched.schedule_problem(p_name, v_fields);
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    if p_check_tasks and exists (select from dtsched.tasks)
        and not exists (select from dtsched.tasks task where task.name = v_fields ->> 'task') then
        raise exception 'no worker has declared a task %; known are %', dtsched.shown(v_fields -> 'task'),
            (select left(string_agg(task.name, ', ' order by task.name), 500) from dtsched.tasks task)
            using errcode = 'JQ002', column = 'task', hint = 'Start a worker that knows it first.';
    end if;

    insert into dtsched.schedules (name, spec, tz, task, args, queue, priority, max_attempts, timeout, limit_key, tags, backoff,
                                   catchup, catchup_limit, overlap, tolerance)
    values (
        p_name,
        v_fields ->> 'spec',
        coalesce(v_fields ->> 'tz', 'UTC'),
        v_fields ->> 'task',
        coalesce(nullif(v_fields -> 'args', 'null'), '{}'),
        v_fields ->> 'queue',
        (v_fields ->> 'priority')::smallint,
        (v_fields ->> 'max_attempts')::integer,
        make_interval(secs => (v_fields ->> 'timeout')::double precision),
        v_fields ->> 'limit_key',
        dtsched.texts(nullif(v_fields -> 'tags', 'null')),
        nullif(v_fields -> 'backoff', 'null'),
        coalesce(v_fields ->> 'catchup', 'latest'),
        coalesce((v_fields ->> 'catchup_limit')::integer, 100),
        coalesce(v_fields ->> 'overlap', 'allow'),
        coalesce(make_interval(secs => (v_fields ->> 'tolerance')::double precision), '1 minute'))
    on conflict (name) do update
    set spec = excluded.spec,
        tz = excluded.tz,
        task = excluded.task,
        args = excluded.args,
        queue = excluded.queue,
        priority = excluded.priority,
        max_attempts = excluded.max_attempts,
        timeout = excluded.timeout,
        limit_key = excluded.limit_key,
        tags = excluded.tags,
        backoff = excluded.backoff,
        catchup = excluded.catchup,
        catchup_limit = excluded.catchup_limit,
        overlap = excluded.overlap,
        tolerance = excluded.tolerance
    returning xmax = 0 into v_is_new;
    return v_is_new;
end $$;

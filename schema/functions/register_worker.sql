-- Registers a worker under an id that is random and new at each process start, and declares the tasks it knows.
-- p_tasks null means it takes any task. p_declared says what the code of its tasks declares, an object of
-- {task: {"settings": {"queue", "priority", "max_attempts", "timeout" (seconds), "backoff", "max_crashes", …}, "args": JSON
-- Schema}}; a task that it leaves out keeps what it has. Of two versions of the code, the one registered last counts.
-- Raises unique_violation when the id is taken, JQ001 for settings that cannot be. Locks: rows of tasks that change, by name.
create or replace function dtsched.register_worker(
    p_worker uuid,
    p_name text,
    p_queues text[],
    p_tasks text[],
    p_slots integer,
    p_lease interval,
    p_info jsonb default '{}',
    p_declared jsonb default '{}'
)
returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_problem text;
begin
    select format('task %s: %s', declared.key, dtsched.task_problem(declared.key, declared.value -> 'settings'))
    into v_problem
    from jsonb_each(p_declared) declared
    where dtsched.task_problem(declared.key, declared.value -> 'settings') is not null
    limit 1;
    if found then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    insert into dtsched.workers (id, name, queues, tasks, slots, lease, info, expires_at, unbroken_since)
    values (p_worker, p_name, p_queues, p_tasks, p_slots, p_lease, p_info, dtsched.now() + p_lease, dtsched.now());
    insert into dtsched.tasks (name)
    select task from unnest(p_tasks) task union select jsonb_object_keys(p_declared) order by task
    on conflict do nothing;
    perform from dtsched.tasks task where p_declared ? task.name order by task.name for no key update;
    update dtsched.tasks task
    set settings = jsonb_strip_nulls(declared.value -> 'settings'),
        args_schema = declared.value -> 'args',
        changed_at = dtsched.now()
    from jsonb_each(p_declared) declared
    where task.name = declared.key
        and (task.settings <> jsonb_strip_nulls(declared.value -> 'settings')
             or task.args_schema is distinct from declared.value -> 'args');
    insert into dtsched.queues (name)
    select queue
    from unnest(p_queues) queue
    where queue not in (select name from dtsched.queues)  -- an insert would wait for whoever is changing that row
    order by queue
    on conflict do nothing;
end $$;

-- Registers a worker under an id that is random and new at each process start, and declares the tasks it knows.
-- p_tasks null means it takes any task. Raises unique_violation when the id is taken.
create or replace function dtsched.register_worker(
    p_worker uuid,
    p_name text,
    p_queues text[],
    p_tasks text[],
    p_slots integer,
    p_lease interval,
    p_info jsonb default '{}'
)
returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    insert into dtsched.workers (id, name, queues, tasks, slots, lease, info, expires_at, unbroken_since)
    values (p_worker, p_name, p_queues, p_tasks, p_slots, p_lease, p_info, dtsched.now() + p_lease, dtsched.now());
    insert into dtsched.tasks (name) select task from unnest(p_tasks) task order by task on conflict do nothing;
    insert into dtsched.queues (name) select queue from unnest(p_queues) queue order by queue on conflict do nothing;
end $$;

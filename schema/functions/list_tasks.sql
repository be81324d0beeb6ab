-- The tasks that some worker has declared, by name; only p_name if given: what their code declares, the arguments they take
-- as JSON Schema (null: unknown), when that was first declared and last changed, and how many live workers run them now.
create or replace function dtsched.list_tasks(p_name text default null)
returns table (
    name text,
    settings jsonb,
    args_schema jsonb,
    declared_at timestamptz,
    changed_at timestamptz,
    workers bigint
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select task.name::text, task.settings, task.args_schema, task.declared_at, task.changed_at,
        (select count(*)
         from dtsched.workers worker
         where worker.lost_at is null and worker.expires_at > dtsched.now()
             and (worker.tasks is null or task.name = any (worker.tasks)))
    from dtsched.tasks task
    where p_name is null or task.name = p_name
    order by task.name
$$;

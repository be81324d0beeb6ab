-- How many workers a job of that task may crash before it fails, whatever attempts it has left: what the task declares, or 3.
create or replace function dtsched.max_crashes(p_task text) returns integer
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select coalesce((select (task.settings ->> 'max_crashes')::integer from dtsched.tasks task where task.name = p_task), 3)
$$;

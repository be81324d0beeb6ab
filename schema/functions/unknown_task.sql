-- The sentence that refuses a task which no worker has declared. Reads all of tasks.
create or replace function dtsched.unknown_task(p_task text) returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select format('no worker has declared a task %s; known are %s', dtsched.shown(to_jsonb(p_task)),
                  (select left(string_agg(task.name, ', ' order by task.name), 500) from dtsched.tasks task))
$$;

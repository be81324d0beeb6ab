-- What tells one set of retentions from another.
create or replace function dtsched.retention_digest() returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select md5(concat(
        (select string_agg(rule::text, ',' order by rule.queue) from dtsched.retention() rule),
        (select string_agg(format('%s %s', task.name, task.settings -> 'result_ttl'), ',' order by task.name)
         from dtsched.tasks task
         where task.settings ? 'result_ttl')))
$$;

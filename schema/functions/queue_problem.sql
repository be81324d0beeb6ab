-- The sentence that refuses a job whose queue, given or its task's, is none of those that its submitter may submit to; null
-- when it is one, or all are his (p_queues is null). Reads tasks_pkey.
create or replace function dtsched.queue_problem(p_job jsonb, p_queues text[]) returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case when job.queue <> all (p_queues) then format('queue must be one that this API key is for (%s), not %s%s',
        left(array_to_string(p_queues, ', '), 200), dtsched.shown(to_jsonb(job.queue)),
        case when p_job ->> 'queue' is null then ', where such jobs go by default: name one' else '' end) end
    from (select coalesce(p_job ->> 'queue',
                          (select task.settings ->> 'queue' from dtsched.tasks task where task.name = p_job ->> 'task'),
                          'default') as queue) job
$$;

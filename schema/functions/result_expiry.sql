-- When the result of a completed job expires: what its task declares (result_ttl), else what its queue's retention says of
-- results, else that of all queues; null where none of them says anything. Reads tasks_pkey, queues_pkey.
create or replace function dtsched.result_expiry(p_task text, p_queue text, p_finished_at timestamptz) returns timestamptz
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select dtsched.expiry(p_finished_at, coalesce(
        (select dtsched.retention_seconds(task.settings, 'result_ttl') from dtsched.tasks task where task.name = p_task),
        (select dtsched.retention_seconds(queue.settings -> 'retention', 'results')
         from dtsched.queues queue where queue.name = p_queue),
        (select dtsched.retention_seconds(pruning.retention, 'results') from dtsched.pruning)))
$$;

-- What an attempt of a job without a timeout of its own may take, in seconds: an object of the tasks that declare one, and
-- under '' what the queue's settings say for all others. Null when nobody says anything. Reads tasks_timeout_idx.
create or replace function dtsched.default_timeouts(p_queue text) returns jsonb
language plpgsql stable  -- whose plans are kept
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select jsonb_object_agg(given.name, given.seconds)
        from (select task.name::text, task.settings -> 'timeout' as seconds
              from dtsched.tasks task
              where task.settings ? 'timeout'
              union all
              select '', queue.settings -> 'timeout'
              from dtsched.queues queue
              where queue.name = p_queue) given
        where jsonb_typeof(given.seconds) = 'number');
end $$;

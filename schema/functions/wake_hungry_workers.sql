-- Notifies a queue's name, and only when a worker is hungry: NOTIFY takes a database-wide lock across the WAL flush and
-- halves the submissions of 64 clients. A hungry worker holds a shared advisory lock on the gate and on each of its queues;
-- trying the exclusive lock tells whether anybody does. A worker that goes hungry in between keeps polling until every
-- transaction that may have found the gate open has ended (see hungry() and settled()).
--
-- Of the first entry of ready that a transaction makes by itself it is told which one, as "queue priority xid job": who is
-- woken by nothing else takes that (claim_entry). Of what follows nothing but the queue is told, once in a transaction.
--
-- After-statement trigger on ready, and on parked: who was woken first may not know the task. Silent with dtsched.notify = off (two-phase commit forbids NOTIFY), and when the
-- notification queue is half full: a full one would abort the submitter's commit; the slow poll stays beneath.
create or replace function dtsched.wake_hungry_workers() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_may_name boolean;
begin
    -- one expression, so that nothing can come between the lock and its release
    if (case when pg_try_advisory_lock(dtsched.gate()) then pg_advisory_unlock(dtsched.gate()) else false end) then
        return null;
    end if;
    if current_setting('dtsched.notify', true) = 'off' or pg_notification_queue_usage() > 0.5 then
        return null;
    end if;
    v_may_name := tg_table_name = 'ready' and current_setting('dtsched.named_in', true) is distinct from pg_current_xact_id()::text;
    perform pg_notify('dtsched_wake', case
        when v_may_name and woken.entries = 1 and woken.priority <= 10 then
            concat_ws(' ', woken.queue, woken.priority, pg_current_xact_id(), woken.job_id)
        else woken.queue end)
    from (select entry.queue, count(*) as entries, min(entry.priority) as priority, min(entry.job_id) as job_id
          from new_entries entry
          group by entry.queue) woken
    where not case when pg_try_advisory_lock(dtsched.gate(), hashtext(woken.queue))
                   then pg_advisory_unlock(dtsched.gate(), hashtext(woken.queue)) else false end;
    if v_may_name then
        perform set_config('dtsched.named_in', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;

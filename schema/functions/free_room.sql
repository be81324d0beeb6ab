-- Wakes the workers that sleep beside a queue with a limit, or with a breaker that tries a job, of which attempts have just ended:
-- a claim that found no room there has left its jobs in ready, where nothing is inserted when room comes free. To be called after
-- the leases are gone, as a submission's trigger runs after its insert: who goes hungry in between polls until this transaction
-- has ended (see wake_hungry_workers). Does nothing where no queue is limited.
create or replace function dtsched.free_room(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_limited text[] := array(
        select queue.name from dtsched.queues queue where queue.settings ? 'limit' or queue.open_until is not null);
begin
    if v_limited = '{}' or current_setting('dtsched.notify', true) = 'off' or pg_notification_queue_usage() > 0.5 then
        return;
    end if;
    perform pg_notify('dtsched_wake', ended.queue)
    from (select distinct job.queue::text as queue
          from dtsched.jobs job
          where job.id = any (p_jobs) and job.queue = any (v_limited)) ended
    where not case when pg_try_advisory_lock(dtsched.gate(), hashtext(ended.queue))
                   then pg_advisory_unlock(dtsched.gate(), hashtext(ended.queue)) else false end;
end $$;

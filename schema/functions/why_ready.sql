-- why() of a job that is ready. What is ahead of it is counted up to 1,000.
create or replace function dtsched.why_ready(
    p_id bigint, p_queue text, p_task text, p_priority smallint, p_limit_key text
)
returns table (code text, reason text)
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := dtsched.now();
    v_paused_at timestamptz;
    v_serving integer;
    v_knowing integer;
    v_slots bigint;
    v_running bigint;
    v_xid xid8;
    v_ahead bigint;
begin
    select queue.paused_at into v_paused_at from dtsched.queues queue where queue.name = p_queue;
    if v_paused_at is not null then
        return query select 'paused', format('queue %s has been paused since %s', p_queue, date_trunc('second', v_paused_at));
    end if;
    select count(*), count(*) filter (where worker.tasks is null or p_task = any (worker.tasks)), sum(worker.slots),
        coalesce(sum((select count(*) from dtsched.leases lease where lease.worker_id = worker.id)), 0)
    into v_serving, v_knowing, v_slots, v_running
    from dtsched.workers worker
    where worker.lost_at is null and worker.expires_at > v_now and not worker.draining and p_queue = any (worker.queues);
    if v_serving = 0 then
        return query select 'no_worker', format('no live worker serves queue %s: start one with -q %s', p_queue, p_queue);
    elsif v_knowing = 0 then
        return query select 'unknown_task', format(case v_serving when 1
            then 'the worker that serves queue %s does not know task %s'
            else 'none of the workers that serve queue %s knows task %s' end, p_queue, p_task);
    end if;
    return query select * from dtsched.why_limited(p_queue, p_limit_key, p_id);
    if found or v_knowing = 0 then
        return;
    end if;

    select entry.xid
    into v_xid
    from dtsched.ready entry
    where entry.queue = p_queue and entry.priority = p_priority and entry.job_id = p_id
    limit 1;
    select count(*)
    into v_ahead
    from (
        select from dtsched.ready entry
        where entry.queue = p_queue
            and (entry.priority > p_priority
                 or entry.priority = p_priority and (entry.xid, entry.job_id) < (v_xid, p_id))
        limit 1000) ahead;
    if v_running >= v_slots then
        return query select 'busy', format('the %s slots of the workers that serve queue %s are all taken', v_slots, p_queue);
    end if;
    if v_ahead > 0 then
        return query select 'behind', format('%s (queue %s) before it',
            case when v_ahead >= 1000 then '1000 jobs or more go' when v_ahead = 1 then 'a job goes'
                else v_ahead || ' jobs go' end, p_queue);
    elsif v_running < v_slots then
        return query select 'next', 'nothing keeps it back: it is about to be claimed';
    end if;
end $$;

-- Whether any of these queues has a job to claim; those that are paused or have limits are left out, and the turns of limit
-- keys, because such jobs may wait rightly. For the watchdog of a worker that claims nothing.
-- Reads ready_pkey.
create or replace function dtsched.has_ready(p_queues text[]) returns boolean
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select exists (
        select
        from unnest(p_queues) served (queue)
        cross join lateral (select from dtsched.ready entry where entry.queue = served.queue and entry.priority <= 10 limit 1) entry
        where not exists (
            select from dtsched.queues queue where queue.name = served.queue
                and (queue.paused_at is not null or queue.open_until is not null or queue.settings ?| '{limit,rate}')))
$$;

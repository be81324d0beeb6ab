-- The workers, by name and start; only p_id if given. p_queues: only those that serve one of these, and
-- nothing of their other queues. state is active, draining, or lost (kept for a day, or if it stopped while somebody
-- held one of its jobs, until that is taken back); running is how many jobs it holds; info is what it says of itself,
-- with system_info as of its last heartbeat, which came at seen_at.
create or replace function dtsched.list_workers(p_id uuid default null, p_queues text[] default null)
returns table (
    id uuid,
    name text,
    state text,
    queues text[],
    tasks text[],
    slots integer,
    running bigint,
    labels jsonb,
    info jsonb,
    lease_seconds double precision,
    started_at timestamptz,
    seen_at timestamptz,
    expires_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select worker.id, worker.name,
        case
            when worker.lost_at is not null or worker.expires_at < dtsched.now() then 'lost'
            when worker.draining then 'draining'
            else 'active'
        end,
        case when p_queues is null then worker.queues
            else array(select served.queue from unnest(worker.queues) served (queue) where served.queue = any (p_queues)) end,
        worker.tasks, worker.slots,
        (select count(*) from dtsched.leases lease
         where lease.worker_id = worker.id and (p_queues is null or lease.queue = any (p_queues))),
        worker.labels, worker.info, extract(epoch from worker.lease)::double precision, worker.started_at,
        worker.expires_at - worker.lease, worker.expires_at
    from dtsched.workers worker
    where (p_id is null or worker.id = p_id)
        and (p_queues is null or worker.queues && p_queues)
    order by worker.name, worker.started_at, worker.id
$$;

-- Renews a worker over HTTP and claims up to p_limit jobs for it, never more than it has slots without a lease, each with a
-- secret of its own: told here once, kept as its SHA-256, and without it the lease is not finished. The worker's queues come in
-- random order, each for its share of what is wanted and then, if others had less, for the rest; p_queues narrows them. In
-- a queue, and for tasks, everything is as claim() says.
--
-- The worker's row is held until the commit, so claims of one worker come one after the other and count each other's leases.
-- A caller that never hears the answer has leases that it does not know: see heartbeat().
-- Raises JQ004 for a worker that is not this owner's, JQ005 for one that is lost. Locks: renew's, then claim's.
create or replace function dtsched.claim_leases(
    p_worker uuid,
    p_owner text,
    p_limit integer,
    p_queues text[] default null
)
returns table (
    lease_id bigint,
    secret text,
    job_id bigint,
    queue text,
    task text,
    args jsonb,
    attempt integer,
    max_attempts integer,
    timeout_seconds double precision,
    deadline timestamptz,
    correlation_id text
)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_alive boolean;
    v_left integer;
    v_tasks text[];
    v_queues text[];
    v_fuller text[] := '{}';  -- those that gave all they were asked for
    v_queue text;
    v_share integer;
    v_taken integer;
    v_visited integer := 0;
    v_job record;
    v_secret text;
    v_deadline timestamptz;
begin
    perform dtsched.require_http_worker(p_worker, p_owner);
    select renewed.alive into v_alive from dtsched.renew(p_worker) renewed;
    if not v_alive then
        raise exception 'worker % was declared lost, and its jobs were given to others', p_worker
            using errcode = 'JQ005', hint = 'Register anew.';
    end if;
    select worker.tasks,
        array(select served.queue from unnest(worker.queues) as served (queue)
              where p_queues is null or served.queue = any (p_queues)
              order by random()),
        least(p_limit, worker.slots - (select count(*) from dtsched.leases lease where lease.worker_id = p_worker))
    into v_tasks, v_queues, v_left
    from dtsched.workers worker
    where worker.id = p_worker;

    while v_queues <> '{}' and v_left > 0 loop
        foreach v_queue in array v_queues loop
            exit when v_left <= 0;
            v_share := ceil(v_left::numeric / (cardinality(v_queues) - v_visited));
            v_visited := v_visited + 1;
            v_taken := 0;
            for v_job in
                select claimed.lease_id, claimed.job_id, claimed.task, claimed.args, claimed.attempt, claimed.max_attempts,
                    claimed.timeout_seconds, claimed.correlation_id
                from dtsched.claim(p_worker, v_queue, v_share, v_tasks) claimed
            loop
                v_taken := v_taken + 1;
                v_secret := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
                update dtsched.leases lease
                set secret = sha256(convert_to(v_secret, 'UTF8'))
                where lease.id = v_job.lease_id
                returning lease.deadline into v_deadline;
                return query
                select v_job.lease_id, v_secret, v_job.job_id, v_queue, v_job.task, v_job.args, v_job.attempt,
                    v_job.max_attempts, v_job.timeout_seconds, v_deadline, v_job.correlation_id;
            end loop;
            v_left := v_left - v_taken;
            if v_taken = v_share then
                v_fuller := v_fuller || v_queue;
            end if;
        end loop;
        v_queues := v_fuller;
        v_fuller := '{}';
        v_visited := 0;
    end loop;
end $$;

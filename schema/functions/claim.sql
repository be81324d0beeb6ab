-- Claims up to p_limit jobs of a queue for a live worker: one lease each, attempt counted, highest priority first. p_tasks
-- are the tasks the worker knows (null = any): a job of another task is moved to parked, no attempt spent, and parked jobs
-- whose task this worker knows are taken. A paused queue and a draining worker get nothing.
--
-- Claiming never waits: a job row that somebody else holds is skipped and its entry kept. An entry whose job is no longer
-- ready (cancelled meanwhile), or is in another queue by now (edit), is dropped. Neither uses up the limit: the claim reads on, for a second at most. One crash
-- point only, the commit: before it nothing has happened, after it the lease exists and rescue() finds it should the worker
-- never hear of it.
--
-- Raises JQ005 when the worker is unknown, expired or lost. Reads ready_pkey, parked_task_idx, jobs_pkey.
-- Locks: entries of ready and parked, then job rows in id order, all SKIP LOCKED.
create or replace function dtsched.claim(
    p_worker uuid,
    p_queue text,
    p_limit integer,
    p_tasks text[] default null
)
returns table (
    lease_id bigint,
    job_id bigint,
    task text,
    args jsonb,
    attempt integer,
    max_attempts integer,
    timeout_seconds double precision,
    correlation_id text,
    backoff jsonb
)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_draining boolean;
    v_paused boolean;
    v_ids bigint[];
    v_locked bigint[];
    v_held bigint[] := '{}';
    v_left integer := p_limit;
    v_claimed integer;
    v_until timestamptz := clock_timestamp() + interval '1 second';
begin
    select worker.draining,
        exists (select from dtsched.queues queue where queue.name = p_queue and queue.paused_at is not null)
    into v_draining, v_paused
    from dtsched.workers worker
    where worker.id = p_worker and worker.lost_at is null and worker.expires_at > dtsched.now();
    if not found then
        raise exception 'worker % is not registered or its lease has run out', p_worker
            using errcode = 'JQ005', hint = 'Renew; if renew() says it is not alive, register under a new id.';
    end if;
    if v_draining or v_paused then
        return;
    end if;

    while v_left > 0 loop
        -- parked jobs come when there is room, and in one claim of fifty before the others, lest a backlog starve them
        if random() < 0.02 then
            v_ids := dtsched.take_parked(p_queue, v_left, p_tasks);
            v_ids := v_ids || dtsched.take_ready(p_queue, v_left - cardinality(v_ids));
        else
            v_ids := dtsched.take_ready(p_queue, v_left);
            if cardinality(v_ids) < v_left then
                v_ids := v_ids || dtsched.take_parked(p_queue, v_left - cardinality(v_ids), p_tasks);
            end if;
        end if;
        exit when v_ids = '{}';

        v_locked := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_ids) and job.state = 'ready' and job.queue = p_queue
            order by job.id
            for no key update skip locked);
        return query
        with claimed as (
            update dtsched.jobs job
            set state = 'running',
                attempt = job.attempt + 1,
                worker_id = p_worker,
                started_at = dtsched.now()
            where job.id = any (v_locked) and (p_tasks is null or job.task = any (p_tasks))
            returning job.id, job.task::text, job.args::jsonb, job.attempt, job.max_attempts::integer, job.timeout,
                job.correlation_id::text, job.backoff, job.limit_key, job.priority
        ),
        numbered as materialized (
            select nextval('dtsched.lease_id_seq') as lease_id, claimed.* from claimed
        ),
        leased as (
            insert into dtsched.leases (id, job_id, worker_id, limit_key)
            select numbered.lease_id, numbered.id, p_worker, numbered.limit_key from numbered
        )
        select numbered.lease_id, numbered.id, numbered.task, numbered.args, numbered.attempt, numbered.max_attempts,
            extract(epoch from numbered.timeout)::double precision, numbered.correlation_id, numbered.backoff
        from numbered
        order by numbered.priority desc, numbered.id;
        get diagnostics v_claimed = row_count;
        exit when v_claimed = v_left;

        if p_tasks is not null then
            insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
            select job.id, 'task', job.queue, job.priority, job.task, job.limit_key
            from dtsched.jobs job
            where job.id = any (v_locked) and job.state = 'ready'
            order by job.id
            on conflict do nothing;
        end if;
        if cardinality(v_locked) < cardinality(v_ids) then
            v_held := v_held || array(select id from unnest(v_ids) id where id <> all (v_locked));
        end if;
        -- a claim that comes back short sends its worker to sleep, so entries that gave nothing are read past
        exit when cardinality(v_ids) < v_left or clock_timestamp() > v_until;
        v_left := v_left - v_claimed;
    end loop;
    if v_held <> '{}' then
        perform dtsched.put_back(v_held);
    end if;
end $$;

-- claim() for a worker that was asleep and has just been told of one entry of ready: takes that one, if all is as usual, and else is
-- claim(). It asks less, so it takes a third of the time: the cursor of the lanes is not looked at. What has come besides is found by the
-- worker's next claim. The order of the lanes is not kept between the entry and what may have come with it: a worker that slept
-- has room for all of that.
--
-- Unusual are limits of the queue or of the job, a breaker, a job that is not ready, that this worker does not know the task of or
-- whose deadline has passed, and an entry or a job that somebody else holds. The lease, the attempt and the timeout are as in claim(),
-- which says why; so are the gate and the epoch. One crash point only, the commit.
-- p_priority, p_xid and p_job come out of a notification, which anybody can send: they are looked for, not trusted. Above 10 it
-- would be the turn of a limit key, which is not to be taken like this.
-- Reads ready_pkey, jobs_pkey. Locks: the entry, then its job, both SKIP LOCKED; then as claim().
create or replace function dtsched.claim_entry(
    p_worker uuid,
    p_queue text,
    p_limit integer,
    p_tasks text[],
    p_slots integer,
    p_priority smallint,
    p_xid xid8,
    p_job bigint
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
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_usual boolean;
    v_timed boolean;
    v_timeouts jsonb;
begin
    if p_slots > 0 and p_limit > 0 and p_priority <= 10 and current_setting('transaction_isolation') = 'read committed'
        and current_setting('synchronous_commit') <> 'off'
        and pg_try_advisory_xact_lock_shared(dtsched.gate() + 3, hashtext(p_queue)) then
        select not worker.draining and queue.paused_at is null and queue.open_until is null
                and (queue.settings ?| '{limit,rate,breaker}') is not true
                and (select epoch.server_started_at = pg_postmaster_start_time() and epoch.ids = 'dtsched.lease_id_seq'::regclass
                     from dtsched.lease_epoch epoch),
            queue.settings ? 'timeout' or exists (select from dtsched.tasks task where task.settings ? 'timeout')
        into v_usual, v_timed
        from dtsched.workers worker
        left join dtsched.queues queue on queue.name = p_queue
        where worker.id = p_worker and worker.lost_at is null and worker.expires_at > dtsched.now();
    end if;
    if v_usual then
        if v_timed then
            v_timeouts := dtsched.default_timeouts(p_queue);
        end if;
        return query
        with taken as (  -- the entry only together with its job
            delete from dtsched.ready entry
            where entry.ctid = (
                select entry.ctid
                from dtsched.ready entry
                where entry.queue = p_queue and entry.priority = p_priority and entry.xid = p_xid and entry.job_id = p_job
                for update skip locked)
                and exists (
                    select
                    from dtsched.jobs job
                    where job.id = p_job and entry.job_id > 0  -- true, but asked of the entry: so that is locked before
                        and job.state = 'ready' and job.queue = p_queue and job.limit_key is null
                        and (p_tasks is null or job.task = any (p_tasks))
                        and (job.deadline is null or job.deadline > dtsched.now())
                    for no key update skip locked)
            returning entry.job_id
        ),
        claimed as (
            update dtsched.jobs job
            set state = 'running',
                attempt = job.attempt + 1,
                worker_id = p_worker,
                progress = null,
                started_at = dtsched.now()
            from taken
            where job.id = p_job and job.id = taken.job_id
            returning nextval('dtsched.lease_id_seq') as lease_id, job.id, job.task::text, job.args::jsonb, job.attempt,
                job.max_attempts::integer, job.correlation_id::text, job.backoff, job.started_at,
                least(job.started_at + coalesce(job.timeout, make_interval(secs =>
                    coalesce(v_timeouts ->> job.task, v_timeouts ->> '')::double precision)), job.deadline) as ends_by
        ),
        leased as (
            insert into dtsched.leases (id, job_id, worker_id, queue, counted, deadline)
            select claimed.lease_id, claimed.id, p_worker, p_queue, false, claimed.ends_by from claimed
        )
        select claimed.lease_id, claimed.id, claimed.task, claimed.args, claimed.attempt, claimed.max_attempts,
            extract(epoch from claimed.ends_by - claimed.started_at)::double precision, claimed.correlation_id, claimed.backoff
        from claimed;
        if found then
            if dtsched.feed_watched() then
                perform dtsched.write_feed(array[p_job], 'started', 'running');
            end if;
            return;
        end if;
    end if;
    return query select * from dtsched.claim(p_worker, p_queue, p_limit, p_tasks, p_slots);
end $$;

-- Claims up to p_limit jobs of a queue for a live worker: one lease each, attempt counted, highest priority first. p_tasks
-- are the tasks the worker knows (null = any): a job of another task is moved to parked, no attempt spent, and parked jobs
-- whose task this worker knows are taken. A paused queue and a draining worker get nothing, and limits of the queue
-- (admit) and of limit keys (take_limited) are never exceeded.
--
-- p_slots of them can start at once (null = all): what is beyond that is fetched ahead, to wait behind jobs that run. So of
-- a queue with a limit, a rate or a breaker, and of one where limit keys have turns, no more than p_slots are taken: else
-- they would hold seats that others could use, and start although a breaker has opened. Jobs of limit keys come first.
--
-- Claiming never waits: a job row that somebody else holds is skipped and its entry kept. An entry whose job is no longer
-- ready there (cancelled meanwhile, or moved to another queue) is dropped. Neither uses up the limit: the claim reads on, for
-- a second at most. One crash
-- point only, the commit: before it nothing has happened, after it the lease exists and rescue() finds it should the worker
-- never hear of it. The first one after a start of the server sets the ids of leases forward (new_epoch).
--
-- timeout_seconds is what the attempt may take: the job's own timeout, else that of its task or queue, but not beyond the
-- job's deadline. Raises JQ005 when the worker is unknown, expired or lost. Reads ready_pkey, parked_task_idx, jobs_pkey.
-- Locks: the row of a queue with limits, entries of ready, limit keys sorted, entries of parked, then job rows in id order, all
-- SKIP LOCKED but for the first.
create or replace function dtsched.claim(
    p_worker uuid,
    p_queue text,
    p_limit integer,
    p_tasks text[] default null,
    p_slots integer default null
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
    v_draining boolean;
    v_paused boolean;
    v_same_epoch boolean;
    v_parked boolean;
    v_timed boolean;
    v_limited boolean;
    v_scarce boolean;
    v_counted boolean;
    v_aged xid8;
    v_taken record;
    v_ids bigint[];
    v_lowest bigint;
    v_highest bigint;
    v_turns text[];
    v_reserved integer;
    v_learned text[];
    v_per_16 integer := 16;       -- how many turns of limit keys are taken for 16 jobs
    v_seated bigint[];
    v_seats text[];               -- the keys that they are of
    v_kept bigint[];
    v_open text[];
    v_watched text[];
    v_busy text[];
    v_look_again text[] := '{}';  -- limit keys that may have more to start
    v_keep_turn text[] := '{}';   -- limit keys that somebody else had locked, or whose jobs
    v_locked bigint[];
    v_started bigint[] := '{}';   -- where limits of the queue want to know
    v_running bigint[];
    v_held bigint[] := '{}';
    v_set_aside boolean;
    v_unused text[];
    v_in_hand bigint[];
    v_slots integer := greatest(0, least(p_limit, p_slots));
    v_limit integer;
    v_room integer;
    v_left integer;
    v_claimed integer;
    v_timeouts jsonb;
    v_until timestamptz := clock_timestamp() + interval '1 second';
begin
    -- before the queue is read: who pauses it, or gives it a limit, can tell that no claim is left that has not seen that (see
    -- drained, set_queue)
    if not pg_try_advisory_xact_lock_shared(dtsched.gate() + 3, hashtext(p_queue)) then
        return;
    end if;
    select worker.draining, queue.paused_at is not null,
        queue.settings ?| '{limit,rate}' or queue.open_until is not null, queue.settings ?| '{limit,rate,breaker}',
        coalesce(queue.settings ? 'limit', false),
        (select age.xid
         from dtsched.ages age
         where age.at <= dtsched.now() - make_interval(secs => coalesce((queue.settings ->> 'aging')::double precision, 600))
         order by age.at desc
         limit 1),
        (select epoch.server_started_at = pg_postmaster_start_time() and epoch.ids = 'dtsched.lease_id_seq'::regclass
         from dtsched.lease_epoch epoch),
        exists (select from dtsched.parked entry where entry.queue = p_queue and entry.reason = 'task'),
        queue.settings ? 'timeout' or exists (select from dtsched.tasks task where task.settings ? 'timeout')
    into v_draining, v_paused, v_limited, v_scarce, v_counted, v_aged, v_same_epoch, v_parked, v_timed
    from dtsched.workers worker
    left join dtsched.queues queue on queue.name = p_queue
    where worker.id = p_worker and worker.lost_at is null and worker.expires_at > dtsched.now();
    if not found then
        raise exception 'worker % is not registered or its lease has run out', p_worker
            using errcode = 'JQ005', hint = 'Renew; if renew() says it is not alive, register under a new id.';
    end if;
    v_limit := case when v_scarce then v_slots else p_limit end;
    if v_draining or v_paused or v_limit <= 0 then
        return;
    end if;
    -- what a crash forgets of the sequence, the server gives out again, and what finishes the one would finish the other
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if not v_same_epoch then
        perform dtsched.new_epoch();
    end if;
    v_room := case when v_limited then dtsched.admit(p_queue, v_limit) else v_limit end;
    v_left := v_room;
    -- what this session has just learned of how many jobs a turn brings; later a key with many seats would have them all
    v_learned := regexp_match(current_setting('dtsched.turns', true), '^([1-9][0-9]{0,3});([0-9]{1,12})$');
    if v_learned[2]::bigint >= extract(epoch from clock_timestamp()) - 1 then
        v_per_16 := v_learned[1]::integer;
    end if;

    while v_left > 0 loop
        v_ids := '{}';
        -- parked jobs come when there is room, and in one claim of fifty before the others, lest a backlog starve them
        if v_parked and random() < 0.02 then
            v_ids := dtsched.take_parked(p_queue, v_left, p_tasks);
        end if;
        -- assigned: to select from it costs a claim of few jobs a twentieth
        v_taken := dtsched.take_ready(p_queue, v_left - cardinality(v_ids), v_aged, v_per_16, v_slots - cardinality(v_ids));
        v_ids := v_ids || v_taken.ids;
        v_turns := v_taken.keys;
        v_reserved := v_taken.reserved;
        v_seated := '{}';
        v_watched := '{}';
        if v_turns <> '{}' then
            select taken.ids, taken.keys, taken.open, taken.watched, taken.busy
            into v_seated, v_seats, v_open, v_watched, v_busy
            from dtsched.take_limited(p_queue, v_turns, v_reserved) taken;
            v_ids := v_ids || v_seated;
            v_look_again := v_look_again || v_open;
            v_keep_turn := v_keep_turn || v_busy;
            if cardinality(v_seated) < v_reserved then
                if 16 * (cardinality(v_turns) + 1) > v_reserved::bigint * v_per_16 then  -- as many as were wanted: there may be more
                    v_per_16 := least(2 * v_per_16, 8000);
                end if;
            elsif 2 * cardinality(v_open) > cardinality(v_turns) then  -- most have seats left
                v_per_16 := greatest(v_per_16 / 2, 1);
            end if;
        elsif v_parked and cardinality(v_ids) < v_left then
            v_ids := v_ids || dtsched.take_parked(p_queue, v_left - cardinality(v_ids), p_tasks);
        end if;
        exit when v_ids = '{}' and v_turns = '{}';

        select min(id), max(id) into v_lowest, v_highest from unnest(v_ids) id;  -- partitions beside them are not even opened
        v_locked := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_ids) and job.state = 'ready' and job.queue = p_queue
                and job.id between v_lowest and v_highest
            order by job.id
            for no key update skip locked);
        if v_seated <> '{}' then  -- a seat is of one key, and edit() may have given the job another since
            v_kept := array(  -- grouped: a join would look at each job by itself, and for each at all that are locked
                select met.job_id
                from (select job_id, limit_key from unnest(v_seated, v_seats) as seat (job_id, limit_key)
                      union all
                      select job.id, job.limit_key::text
                      from dtsched.jobs job
                      where job.id = any (v_locked) and job.id between v_lowest and v_highest) met
                group by met.job_id, met.limit_key
                having count(*) = 2);
            if cardinality(v_kept) < cardinality(v_seated) then
                v_look_again := v_look_again || v_turns;
                v_seated := v_kept;
            end if;
        end if;
        if v_timed then
            v_timeouts := coalesce(v_timeouts, dtsched.default_timeouts(p_queue));
        end if;
        return query
        with claimed as (
            update dtsched.jobs job
            set state = 'running',
                attempt = job.attempt + 1,
                worker_id = p_worker,
                progress = null,
                started_at = dtsched.now()
            where job.id = any (v_locked) and job.id between v_lowest and v_highest
                and (p_tasks is null or job.task = any (p_tasks))
                and (job.limit_key is null or job.id = any (v_seated))
                and (job.deadline is null or job.deadline > dtsched.now())  -- else expire() ends it
            returning nextval('dtsched.lease_id_seq') as lease_id, job.id, job.task::text, job.args::jsonb, job.attempt,
                job.max_attempts::integer, job.timeout, job.correlation_id::text, job.backoff, job.limit_key, job.priority,
                job.started_at,
                least(job.started_at + coalesce(job.timeout, make_interval(secs =>
                    coalesce(v_timeouts ->> job.task, v_timeouts ->> '')::double precision)), job.deadline) as ends_by
        ),
        leased as (
            insert into dtsched.leases (id, job_id, worker_id, queue, counted, limit_key, deadline)
            select claimed.lease_id, claimed.id, p_worker, p_queue, v_counted, claimed.limit_key, claimed.ends_by from claimed
        )
        select claimed.lease_id, claimed.id, claimed.task, claimed.args, claimed.attempt, claimed.max_attempts,
            extract(epoch from claimed.ends_by - claimed.started_at)::double precision, claimed.correlation_id, claimed.backoff
        from claimed
        order by claimed.limit_key is null, claimed.priority desc, claimed.id;
        get diagnostics v_claimed = row_count;
        if v_claimed > 0 then
            perform dtsched.tell_feed(v_locked, 'started', 'running');
        end if;
        if v_limited or v_watched <> '{}' then
            v_running := array(
                select job.id from dtsched.jobs job where job.id = any (v_locked) and job.state = 'running');
            v_started := v_started || v_running;
        end if;
        if v_watched <> '{}' then  -- before the same keys' turns of another lane are met
            perform dtsched.note_starts(p_queue, v_watched, v_running);
        end if;
        exit when v_claimed = v_left;

        v_set_aside := v_claimed < cardinality(v_locked);
        if v_set_aside then
            select aside.unused, aside.held
            into v_unused, v_in_hand
            from dtsched.set_aside(v_locked, v_seated, p_tasks) aside;
            v_held := v_held || v_in_hand;
            if v_unused <> '{}' then  -- a seat that was found for a job that may not start is free again
                perform dtsched.give_turns(p_queue, v_unused);
            end if;
        end if;
        if cardinality(v_locked) < cardinality(v_ids) then
            v_held := v_held || array(select id from unnest(v_ids) id where id <> all (v_locked));
        end if;
        -- a claim that comes back short sends its worker to sleep, so entries that gave nothing are read past
        exit when cardinality(v_ids) < v_left and v_turns = '{}' and not v_set_aside
            or v_claimed >= v_slots and v_turns <> '{}' or clock_timestamp() > v_until;
        v_left := v_left - v_claimed;
        v_slots := v_slots - v_claimed;
    end loop;
    if v_held <> '{}' then
        perform dtsched.put_back(v_held);
    end if;
    if v_seats is not null and (v_per_16 <> 16 or v_learned is not null) then
        perform set_config('dtsched.turns', v_per_16 || ';' || extract(epoch from clock_timestamp())::bigint, false);
    end if;
    if v_limited then
        perform dtsched.admitted(p_queue, v_room, v_limit, v_started);
    end if;
    if v_look_again <> '{}' then
        perform dtsched.give_turns(p_queue, v_look_again);
    end if;
    if v_keep_turn <> '{}' then
        perform dtsched.keep_turns(p_queue, v_keep_turn);
    end if;
end $$;

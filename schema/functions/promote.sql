-- Moves jobs whose time has come from scheduled to ready, oldest first, and wakes the queues and limit keys whose time it is
-- (wake_due). Returns how many moved, and in how many seconds the
-- next of them is due (null = none, 0 = more are due now). Safe to run from every worker at once. A job row that somebody else
-- holds stays for the next round; an entry whose job is no longer scheduled for that time (cancelled, rescheduled, deleted)
-- is dropped. chores are the other steps that have something to do now (see there): whoever promotes pokes them.
--
-- What has been promoted is dead index at the head when xmin is pinned, so this keeps a cursor as take_ready() does: a mark
-- (run_at, job_id) up to which the session has dealt with everything its snapshot showed. Below the mark only transactions
-- that were open then, or began later, can have put anything: those are looked up by xid. Every few seconds (dtsched.sweep)
-- it starts from the beginning, for entries that somebody else had locked and then let go.
-- There, "is true" keeps the planner off scheduled_pkey, by which it would walk everything that has been promoted.
-- Reads scheduled_pkey, scheduled_xid_idx. Locks: entries by time SKIP LOCKED, then lock_jobs's, then wakes SKIP LOCKED.
create or replace function dtsched.promote(p_limit integer default 1000)
returns table (promoted integer, next_seconds double precision, chores text[])
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_text text := current_setting('dtsched.promoted', true);  -- swept at;mark (microseconds);mark's id;xmax;open xids
    v_snapshot pg_snapshot := pg_current_snapshot();
    v_now timestamptz := dtsched.now();
    v_seconds double precision := extract(epoch from clock_timestamp());
    v_swept double precision := v_seconds;
    v_mark timestamptz := '-infinity';
    v_mark_id bigint := 0;
    v_since xid8 := '0';
    v_open xid8[] := '{}';
    v_tids tid[];
    v_jobs bigint[];
    v_held bigint[] := '{}';
    v_last timestamptz;
    v_last_id bigint;
    v_late_full boolean;
    v_full boolean;
    v_promoted integer := 0;
begin
    if v_text ~ '^[0-9.]+;-?[0-9]+;[0-9]+;[0-9]+;[0-9,]*$' then
        v_swept := split_part(v_text, ';', 1)::double precision;
        v_mark := 'epoch'::timestamptz + split_part(v_text, ';', 2)::bigint * interval '1 microsecond';
        v_mark_id := split_part(v_text, ';', 3)::bigint;
        v_since := split_part(v_text, ';', 4)::xid8;
        v_open := string_to_array(split_part(v_text, ';', 5), ',')::xid8[];
        if v_mark > v_now or v_since > pg_snapshot_xmax(v_snapshot) or v_swept > v_seconds
            or v_seconds - v_swept >= coalesce(nullif(current_setting('dtsched.sweep', true), ''), '5')::double precision then
            v_mark := '-infinity';
            v_swept := v_seconds;
        end if;
    end if;

    if v_mark > '-infinity' then
        with late as materialized (
            select entry.tid, entry.job_id
            from unnest(v_open) was (xid)
            cross join lateral (
                select entry.ctid as tid, entry.job_id
                from dtsched.scheduled entry
                where entry.xid = was.xid and ((entry.run_at, entry.job_id) <= (v_mark, v_mark_id)) is true
                limit p_limit
                for update skip locked) entry
            limit p_limit
        ),
        later as materialized (
            select entry.ctid as tid, entry.job_id
            from dtsched.scheduled entry
            where entry.xid >= v_since and ((entry.run_at, entry.job_id) <= (v_mark, v_mark_id)) is true
            order by entry.xid
            limit p_limit
            for update skip locked
        ),
        found as (select tid, job_id from late union select tid, job_id from later)
        select coalesce(array_agg(found.tid), '{}'), coalesce(array_agg(found.job_id), '{}')
        into v_tids, v_jobs
        from found;
    else
        v_tids := '{}';
        v_jobs := '{}';
    end if;
    v_late_full := cardinality(v_tids) >= p_limit;
    v_full := v_late_full;
    if not v_late_full then
        with due as materialized (
            select entry.ctid as tid, entry.job_id, entry.run_at
            from dtsched.scheduled entry
            where (entry.run_at, entry.job_id) > (v_mark, v_mark_id) and entry.run_at <= v_now
            order by entry.run_at, entry.job_id
            limit p_limit - cardinality(v_tids)
            for update skip locked
        )
        select v_tids || coalesce(array_agg(due.tid), '{}'), v_jobs || coalesce(array_agg(due.job_id), '{}'),
            max(due.run_at), (array_agg(due.job_id order by due.run_at desc, due.job_id desc))[1]
        into v_tids, v_jobs, v_last, v_last_id
        from due;
        v_full := cardinality(v_tids) >= p_limit;
    end if;

    if v_tids <> '{}' then
        v_held := dtsched.lock_jobs(v_jobs);
        with gone as (
            delete from dtsched.scheduled entry
            where entry.ctid = any (array(select due.tid from unnest(v_tids, v_jobs) as due (tid, job_id)
                                          where due.job_id <> all (v_held)))
            returning entry.run_at, entry.job_id
        ),
        moved as (
            update dtsched.jobs job
            set state = 'ready'
            from (select gone.run_at, gone.job_id from gone order by gone.job_id) due
            where job.id = due.job_id and job.state = 'scheduled' and job.run_at = due.run_at
            returning job.id, job.queue, job.priority, job.task, job.limit_key
        ),
        limited as (
            insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
            select moved.id, 'limit', moved.queue, moved.priority, moved.task, moved.limit_key
            from moved
            where moved.limit_key is not null
            on conflict (job_id) do update  -- an entry from before it was changed
            set reason = excluded.reason, queue = excluded.queue, priority = excluded.priority, task = excluded.task,
                limit_key = excluded.limit_key
        ),
        entered as (
            insert into dtsched.ready (queue, priority, job_id, limit_key)
            select moved.queue, moved.priority, moved.id, null from moved where moved.limit_key is null
            union all
            select moved.queue, 10 + moved.priority, min(moved.id), moved.limit_key
            from moved
            where moved.limit_key is not null
            group by moved.queue, moved.priority, moved.limit_key
            on conflict do nothing  -- an entry of this very transaction
        )
        select count(*) into v_promoted from moved;
    end if;

    -- What lies below the mark has been dealt with; it stays where it is when there is more of that, or a job's row was
    -- held. Held ones that fill half the limit would be found again and again: they are left to the sweep.
    if (not v_late_full and v_held = '{}') or (v_full and cardinality(v_held) > p_limit / 2) then
        if v_late_full then
            v_last := v_mark;
            v_last_id := v_mark_id;
        elsif not v_full then
            v_last := v_now;
            v_last_id := 9223372036854775807;
        end if;
        perform set_config('dtsched.promoted', concat_ws(';', v_swept,
            (extract(epoch from v_last) * 1000000)::bigint, v_last_id, pg_snapshot_xmax(v_snapshot),
            array_to_string(array(select pg_snapshot_xip(v_snapshot) union select pg_current_xact_id_if_assigned()), ',')),
            false);
    end if;
    if exists (select from dtsched.wakes wake where wake.at <= v_now) then
        perform dtsched.wake_due(v_now);
    end if;
    return query
    select v_promoted, case when v_full then 0 else (
        select greatest(0, extract(epoch from next.at - dtsched.now()))
        from (select least(
                  (select entry.run_at
                   from dtsched.scheduled entry
                   where entry.run_at > v_now
                   order by entry.run_at, entry.job_id
                   limit 1),
                  (select min(wake.at) from dtsched.wakes wake where wake.at > v_now),
                  -- there were too many; one that a claim relies on is for the next round
                  (select wake.at from dtsched.wakes wake where wake.at <= v_now order by wake.at limit 1
                   for update skip locked)) as at) next
        where next.at is not null) end::double precision, dtsched.chores(v_now, v_mark = '-infinity');
end $$;

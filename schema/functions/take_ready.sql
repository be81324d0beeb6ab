-- Takes up to p_limit entries out of a queue's lanes, priority 10 first, and returns their job ids in lane order.
--
-- Each priority has two lanes: its jobs (1 to 10), and the turns of limit keys (11 to 20). Where both have something they get
-- half of the limit each. keys are those whose turns were taken, as often as it happened, lanes where, and reserved is how
-- much of the limit is theirs. For 16 of that p_turns are taken: more where most are of keys that have no free seat, fewer where
-- keys have many, but 16 keys at least share it, or as many as it has places.
-- What came before the transaction p_aged goes before everything else, priority 10 first. While there are turns, no more than
-- p_slots are taken of anything (null = p_limit): jobs with and without a key wait for the same slots.
--
-- This is the lane cursor: it never reads again what has been consumed, and never misses a commit however late.
--
-- A lane is ordered by (xid, job_id), xid being the transaction that made the entry. A session that has read a lane up to
-- a head under snapshot S knows that what may still appear below the head comes from transactions that were open in S.
-- So the cursor holds, per queue: a head (xid, job_id) and a low mark for each of the lanes, and one list of the
-- transactions that were open below any head. A call probes those that have ended since ("late"), then reads on from the
-- heads. The cursor states facts about the lanes, not about the claimer, so it lives in a session setting: it is rolled
-- back with an aborted claim, and harmless when a pooler hands the session to somebody else. For the same reason a session that
-- begins goes on from the cursor of another one (keep_cursor): under a pinned xmin it would read all that was ever consumed.
-- What is kept there is committed with the claim that has read so far, and true as long as this server runs.
--
-- What that misses are entries this session saw locked and passed, and whose locker then gave up and fell silent. So every
-- few seconds (dtsched.sweep, 5 s) a call takes whatever is left below the heads too, from the low marks on; an unread
-- backlog lies ahead of the heads and is not touched by that.
--
-- The usual way, with neither limit keys nor anything aged, late or to be swept, is one statement that reads lane after lane; all
-- else looks first which lanes have something, and visits those one by one.
--
-- Rules, each found by breaking it:
--   READ COMMITTED only: an older snapshot would not see what the cursor says is not there.
--   The snapshot is taken before any lane is read, and the head never passes its xmax (restored dumps carry foreign xids);
--     a cursor beyond the snapshot's xmax is thrown away (a pooled client may have written anything there).
--   The caller's own xid counts as open too: it may submit after it has claimed. One as young as v_max is below no head.
--   Ended transactions leave the list only when no lane can still hold entries of theirs.
--   LATERAL with LIMIT for the late entries: joined otherwise, the planner walks the whole lane from its dead head.
--
-- Reads ready_pkey only. Locks: the entries taken, SKIP LOCKED.
create or replace function dtsched.take_ready(
    p_queue text,
    p_limit integer,
    p_aged xid8 default null,
    p_turns integer default 16,
    p_slots integer default null,
    out ids bigint[],
    out keys text[],
    out lanes smallint[],
    out reserved integer
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    c_below_all constant bigint := -9223372036854775808;  -- ids of a head: all of its transaction is yet to come
    v_setting text := 'dtsched.cursor_' || md5(p_queue);
    v_text text := current_setting(v_setting, true);      -- queue; swept at; open; heads; head ids; lows
    v_cursor text[];
    v_known boolean;
    v_begins boolean := coalesce(v_text, '') = '';        -- this session has not claimed here yet
    v_snapshot pg_snapshot := pg_current_snapshot();
    v_max xid8 := pg_snapshot_xmax(v_snapshot);
    v_seconds double precision := extract(epoch from clock_timestamp());
    v_swept double precision;
    v_sweeping boolean;
    v_lanes integer;                                      -- 10, or 20 where there have been limit keys
    v_heads xid8[];                                       -- index = lane
    v_head_ids bigint[];
    v_lows xid8[];
    v_open xid8[];
    v_ended xid8[] := '{}';
    v_waiting xid8[] := '{}';
    v_usual boolean := false;
    v_drained integer;
    v_any_turns boolean;
    v_has_late boolean[];
    v_has_new boolean[];
    v_has_aged boolean[];
    v_visits integer[];                                   -- lanes; negative: only what is aged
    v_keep_ended boolean := false;
    v_own xid8;
    v_left integer := p_limit;
    v_lane integer;
    v_share integer;
    v_want integer;
    v_head xid8;
    v_head_id bigint;
    v_last xid8;
    v_low xid8;
    v_ids bigint[];
    v_keys text[];
    v_late_count integer;
    v_alone boolean := v_snapshot::text like '%:';        -- no other transaction that writes is open
    v_busy xid[] := '{}';
begin
    ids := '{}';
    keys := '{}';
    lanes := '{}';
    reserved := 0;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'claiming needs READ COMMITTED, and this transaction is %',
            upper(current_setting('transaction_isolation'))
            using errcode = 'invalid_transaction_state', hint = 'Claim outside of such transactions.';
    end if;
    if p_limit is null or p_limit <= 0 then
        return;
    end if;

    if v_begins then
        select kept.cursor
        into v_text
        from dtsched.cursors kept
        where kept.queue = p_queue and kept.server_started_at = pg_postmaster_start_time();
    end if;
    -- Each expression costs something in every transaction, run or not run before: so they are few on the usual way.
    if v_text ~ '^[^;]+;[0-9]+(\.[0-9]+)?;([0-9]+(,[0-9]+)*)?;[0-9]+(,[0-9]+)*;-?[0-9]+(,-?[0-9]+)*;[0-9]+(,[0-9]+)*$' then
        v_cursor := string_to_array(v_text, ';');
        v_swept := case when v_begins then 0 else v_cursor[2]::double precision end;  -- what the other one has passed, too
        v_open := ('{' || v_cursor[3] || '}')::xid8[];
        v_heads := ('{' || v_cursor[4] || '}')::xid8[];
        v_head_ids := ('{' || v_cursor[5] || '}')::bigint[];
        v_lows := ('{' || v_cursor[6] || '}')::xid8[];
        v_lanes := cardinality(v_heads);
        v_known := v_cursor[1] = p_queue and v_lanes in (10, 20) and cardinality(v_head_ids) = v_lanes
            and cardinality(v_lows) = v_lanes and not v_max < any (v_heads);
    end if;
    if v_known is not true then
        v_lanes := 10;
        v_swept := v_seconds;
        v_open := '{}';
        v_heads := array_fill('0'::xid8, array[10]);
        v_head_ids := array_fill(0::bigint, array[10]);
        v_lows := v_heads;
    end if;
    v_sweeping := v_seconds - v_swept >= coalesce(nullif(current_setting('dtsched.sweep', true), ''), '5')::double precision
        or v_swept > v_seconds;

    -- What other transactions have in hand is read past: to try its lock costs more. One that has given up meanwhile leaves
    -- entries below the head like one that gives up later: for the sweep.
    if not v_alone then
        v_busy := array(select xid::xid from pg_snapshot_xip(v_snapshot) xid);
    end if;

    if v_open <> '{}' then
        select coalesce(array_agg(xid) filter (where visible), '{}'), coalesce(array_agg(xid) filter (where not visible), '{}')
        into v_ended, v_waiting
        from (select xid, pg_visible_in_snapshot(xid, v_snapshot) as visible from unnest(v_open) xid) seen;
    end if;
    if v_ended <> '{}' then  -- what is locked of theirs is for the next sweep
        v_lows := array(
            select least(marks.low, (select min(xid) from unnest(v_ended) xid))
            from unnest(v_lows) with ordinality as marks (low, lane)
            order by marks.lane);
    end if;

    if v_lanes = 10 and v_ended = '{}' and not v_sweeping and (p_aged <= all (v_heads)) is not false then
        with turns as materialized (
            select exists (select from dtsched.limits)
                or exists (select from dtsched.ready entry where entry.queue = p_queue and entry.priority > 10) as found
        ),
        new as (
            delete from dtsched.ready entry
            where entry.ctid = any (array(
                select entry.tid
                from generate_series(10, 1, -1) lane
                cross join lateral (
                    select entry.ctid as tid
                    from dtsched.ready entry
                    where entry.queue = p_queue and entry.priority = lane
                        and (entry.xid, entry.job_id) > (v_heads[lane], v_head_ids[lane])
                        and (entry.xmax = '0' or entry.xmax <> all (v_busy))
                    order by entry.xid, entry.job_id
                    limit p_limit
                    for update skip locked) entry
                where not (select turns.found from turns)
                limit p_limit))
            returning entry.job_id, entry.xid, entry.priority)
        select coalesce(array_agg(job_id order by priority desc, xid, job_id), '{}'),
            (array_agg(xid order by priority desc, xid, job_id))[p_limit], min(priority), not (select turns.found from turns)
        into ids, v_last, v_lane, v_usual
        from new;
    end if;
    if v_usual then
        v_visits := '{}';
        v_drained := case when v_last is null then 1 else v_lane end;
        v_heads[v_drained:10] := array_fill(v_max, array[11 - v_drained]);
        v_head_ids[v_drained:10] := array_fill(c_below_all, array[11 - v_drained]);
        if v_last < v_max then  -- the limit was reached in this lane, and not at its end
            v_heads[v_lane] := v_last;
            v_head_ids[v_lane] := ids[p_limit];
        end if;
    else
        -- one statement finds the lanes that have anything new: an empty poll is mostly this and no more
        loop
            select
                array_agg(exists (
                    select from dtsched.ready entry
                    where entry.queue = p_queue and entry.priority = lane
                        and (entry.xid, entry.job_id) > (v_heads[lane], v_head_ids[lane])
                ) order by lane),
                -- where nobody uses limit keys, one look in place of ten says that there are no turns
                v_lanes = 10 and (exists (select from dtsched.limits)
                    or exists (select from dtsched.ready entry where entry.queue = p_queue and entry.priority > 10))
            into v_has_new, v_any_turns
            from generate_series(1, v_lanes) lane;
            exit when not v_any_turns;
            v_lanes := 20;
            v_heads := v_heads || array_fill('0'::xid8, array[10]);
            v_head_ids := v_head_ids || array_fill(0::bigint, array[10]);
            v_lows := v_lows || array_fill('0'::xid8, array[10]);
        end loop;
        v_has_late := array_fill(false, array[v_lanes]);
        if v_sweeping or v_ended <> '{}' then
            select array_agg(case
                when v_sweeping then exists (
                    select from dtsched.ready entry
                    where entry.queue = p_queue and entry.priority = lane and entry.xid >= v_lows[lane]
                        and (entry.xid, entry.job_id) <= (v_heads[lane], v_head_ids[lane]))
                else exists (
                    select from dtsched.ready entry
                    where entry.queue = p_queue and entry.priority = lane and entry.xid = any (v_ended)
                        and (entry.xid, entry.job_id) <= (v_heads[lane], v_head_ids[lane]))
                end order by lane)
            into v_has_late
            from generate_series(1, v_lanes) lane;
        end if;
        v_visits := case v_lanes when 10 then '{10,9,8,7,6,5,4,3,2,1}'
                                 else '{20,10,19,9,18,8,17,7,16,6,15,5,14,4,13,3,12,2,11,1}' end::integer[];
        if p_slots < p_limit and v_lanes = 20 and (true = any (v_has_new[11:20]) or true = any (v_has_late[11:20])) then
            v_left := greatest(0, p_slots);
        end if;
        if p_aged is not null and (select count(*) from unnest(v_has_new) has_new where has_new) > 1 then
            select array_agg(v_has_new[lane] and exists (
                select from dtsched.ready entry
                where entry.queue = p_queue and entry.priority = lane
                    and (entry.xid, entry.job_id) > (v_heads[lane], v_head_ids[lane]) and entry.xid < p_aged
            ) order by lane)
            into v_has_aged
            from generate_series(1, v_lanes) lane;
            v_visits := array(select -lane from unnest(v_visits) with ordinality as visit (lane, n)
                              where v_has_aged[lane] order by n) || v_visits;
        end if;
    end if;

    foreach v_lane in array v_visits loop
        if v_lane > 0 and not v_has_new[v_lane] and not v_has_late[v_lane] then
            v_heads[v_lane] := v_max;
            v_head_ids[v_lane] := c_below_all;
            continue;
        end if;
        if v_lane < 0 then  -- from the head on, and the head no further than what is taken
            v_lane := -v_lane;
            v_share := case when v_lane > 10 and v_has_aged[v_lane - 10] then dtsched.half(v_left) else v_left end;
            v_want := case when v_lane > 10 then least(greatest(least(v_share, 16), v_share::bigint * p_turns / 16), 500) else v_share end;
            continue when v_want = 0;
            with aged as (
                delete from dtsched.ready entry
                where entry.ctid = any (array(
                    select entry.ctid
                    from dtsched.ready entry
                    where entry.queue = p_queue and entry.priority = v_lane
                        and (entry.xid, entry.job_id) > (v_heads[v_lane], v_head_ids[v_lane]) and entry.xid < p_aged
                    order by entry.xid, entry.job_id
                    limit v_want
                    for update skip locked))
                returning entry.job_id, entry.xid, entry.limit_key)
            select coalesce(array_agg(job_id order by xid, job_id), '{}'), array_agg(limit_key order by xid, job_id), max(xid)
            into v_ids, v_keys, v_last
            from aged;
            if v_last < v_max then
                v_heads[v_lane] := v_last;
                v_head_ids[v_lane] := v_ids[cardinality(v_ids)];
            end if;
        else
            v_head := v_heads[v_lane];
            v_head_id := v_head_ids[v_lane];
            v_ids := '{}';
            v_share := case
                when v_lane > 10 and (v_has_new[v_lane - 10] or v_has_late[v_lane - 10]) then dtsched.half(v_left)
                else v_left end;
            v_want := case when v_lane > 10 then least(greatest(least(v_share, 16), v_share::bigint * p_turns / 16), 500) else v_share end;
            if v_want = 0 then
                v_keep_ended := v_keep_ended or v_has_late[v_lane];
            else
                v_keys := '{}';
                if v_has_late[v_lane] and v_sweeping then
                    with late as (
                        delete from dtsched.ready entry
                        where entry.ctid = any (array(
                            select entry.ctid
                            from dtsched.ready entry
                            where entry.queue = p_queue and entry.priority = v_lane and entry.xid >= v_lows[v_lane]
                                and (entry.xid, entry.job_id) <= (v_head, v_head_id)
                            order by entry.xid, entry.job_id
                            limit v_want
                            for update skip locked))
                        returning entry.job_id, entry.xid, entry.limit_key)
                    select coalesce(array_agg(job_id order by xid, job_id), '{}'), array_agg(limit_key order by xid, job_id)
                    into v_ids, v_keys
                    from late;
                elsif v_has_late[v_lane] then
                    with late as (
                        delete from dtsched.ready entry
                        where entry.ctid = any (array(
                            select entry.tid
                            from unnest(v_ended) ended (xid)
                            cross join lateral (
                                select entry.ctid as tid
                                from dtsched.ready entry
                                where entry.queue = p_queue and entry.priority = v_lane and entry.xid = ended.xid
                                    and (entry.xid, entry.job_id) <= (v_head, v_head_id)
                                order by entry.job_id
                                limit v_want
                                for update skip locked) entry
                            limit v_want))
                        returning entry.job_id, entry.xid, entry.limit_key)
                    select coalesce(array_agg(job_id order by xid, job_id), '{}'), array_agg(limit_key order by xid, job_id)
                    into v_ids, v_keys
                    from late;
                end if;
                v_late_count := cardinality(v_ids);
                v_keep_ended := v_keep_ended or v_late_count = v_want;
                v_last := null;
                if v_late_count < v_want then
                    with new as (
                        delete from dtsched.ready entry
                        where entry.ctid = any (array(
                            select entry.ctid
                            from dtsched.ready entry
                            where entry.queue = p_queue and entry.priority = v_lane
                                and (entry.xid, entry.job_id) > (v_head, v_head_id)
                                and (entry.xmax = '0' or entry.xmax <> all (v_busy))
                            order by entry.xid, entry.job_id
                            limit v_want - v_late_count
                            for update skip locked))
                        returning entry.job_id, entry.xid, entry.limit_key)
                    select v_ids || coalesce(array_agg(job_id order by xid, job_id), '{}'),
                        v_keys || array_agg(limit_key order by xid, job_id), max(xid)
                    into v_ids, v_keys, v_last
                    from new;
                end if;
                if cardinality(v_ids) < v_want then  -- the lane is drained: what comes is of open transactions or of later ones
                    v_head := v_max;
                    v_head_id := c_below_all;
                elsif v_last is not null then
                    v_head := v_last;
                    v_head_id := v_ids[cardinality(v_ids)];
                    if v_head >= v_max then
                        v_head := v_max;
                        v_head_id := c_below_all;
                    end if;
                end if;
            end if;
            v_heads[v_lane] := v_head;
            v_head_ids[v_lane] := v_head_id;
        end if;
        if v_ids <> '{}' then
            if v_lane > 10 then
                keys := keys || v_keys;
                lanes := lanes || array_fill(v_lane::smallint, array[cardinality(v_ids)]);
                reserved := reserved + v_share;
                v_left := v_left - v_share;
            else
                ids := ids || v_ids;
                v_left := v_left - cardinality(v_ids);
            end if;
        end if;
    end loop;

    v_own := pg_current_xact_id_if_assigned();
    if v_waiting = '{}' and not v_keep_ended and v_alone then
        v_open := case when v_own < v_max then array[v_own] else '{}' end;
    else
        select coalesce(array_agg(xid), '{}')
        into v_open
        from (select xid from unnest(v_waiting) xid
              union select xid from unnest(v_ended) xid where v_keep_ended
              union select xid from pg_snapshot_xip(v_snapshot) xid where xid < any (v_heads)
              union select v_own where v_own < v_max) below;
    end if;

    if v_sweeping then
        -- the low mark stops at the first entry still there: taken by somebody who may yet give up. What an open
        -- transaction puts below it lowers the mark when that has ended.
        for v_lane in 1..v_lanes loop
            select entry.xid
            into v_low
            from dtsched.ready entry
            where entry.queue = p_queue and entry.priority = v_lane and entry.xid >= v_lows[v_lane]
                and (entry.xid, entry.job_id) <= (v_heads[v_lane], v_head_ids[v_lane])
            order by entry.queue, entry.priority, entry.xid, entry.job_id
            limit 1;
            v_lows[v_lane] := least(v_low, v_heads[v_lane]);
        end loop;
        if not v_keep_ended then  -- else there is more to sweep, and the next call goes on
            v_swept := v_seconds;
        end if;
    end if;

    v_text := set_config(v_setting, p_queue || ';' || v_swept || ';' || array_to_string(v_open, ',') || ';'
        || array_to_string(v_heads, ',') || ';' || array_to_string(v_head_ids, ',') || ';' || array_to_string(v_lows, ','), false);
    if v_own is not null and (v_sweeping or v_begins) then  -- a claim that has found nothing writes nothing
        perform dtsched.keep_cursor(p_queue, v_text);
    end if;
end $$;

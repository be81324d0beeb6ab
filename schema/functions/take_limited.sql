-- Takes up to p_limit waiting jobs of the limit keys whose turns a claim has taken, as many of each as may start, and returns
-- their ids, with the key of each. What the keys have is dealt out in rounds, so that no key gets its next share before every
-- other has its own.
-- open are the keys to look at again once the leases are made (give_turns): they have more, or lack nothing but time; watched
-- are those of which a start is to be noted (note_starts). busy are those that somebody else has locked, or whose jobs somebody
-- has, because a claim never waits: they keep their turn (keep_turns). While set_queue() changes what the queue says of its
-- keys, all are busy.
-- Reads parked_limit_idx, and what seats() reads. Locks: the queue's gate for keys, shared; limits sorted SKIP LOCKED, then
-- entries of parked SKIP LOCKED.
create or replace function dtsched.take_limited(
    p_queue text,
    p_turns text[],
    p_limit integer,
    out ids bigint[],
    out keys text[],
    out open text[],
    out watched text[],
    out busy text[]
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz;  -- of what is volatile seats() would be planned anew in each call
    v_locked text[];
    v_keys text[];  -- that have seats, in the order of their turns
    v_seats integer[];
    v_taken integer[];
    v_stale bigint[];
    v_stale_jobs bigint[];
    v_more integer := 0;
    v_ids bigint[];
    v_keys_of_ids text[];
    v_left integer := p_limit;
    v_rounds integer := 30;  -- read past some 25,000 old entries
begin
    ids := '{}';
    keys := '{}';
    -- before the queue's settings are read: a turn that is dropped by those of before would not come again
    if not pg_try_advisory_xact_lock_shared(dtsched.gate() + 6, hashtext(p_queue)) then
        open := '{}';
        watched := '{}';
        busy := array(select distinct limit_key from unnest(p_turns) limit_key);
        return;
    end if;
    -- a key that is new gets its row here; who makes it holds the advisory lock until it is there for all to see
    insert into dtsched.limits (limit_key)
    select fresh.limit_key
    from (select turn.limit_key
          from (select distinct limit_key from unnest(p_turns) limit_key) turn
          where not exists (select from dtsched.limits limited where limited.limit_key = turn.limit_key)
          order by turn.limit_key
          limit 50) fresh
    where pg_try_advisory_xact_lock(dtsched.gate() + 2, hashtext(fresh.limit_key))
    on conflict do nothing;

    v_locked := array(
        select limited.limit_key
        from dtsched.limits limited
        where limited.limit_key = any (p_turns)
        order by limited.limit_key
        for no key update skip locked);
    -- here and below grouped and not joined: that would be a nested loop
    select coalesce(array_agg(turn.limit_key order by turn.n) filter (where turn.is_locked), '{}'),
        coalesce(array_agg(turn.limit_key) filter (where not turn.is_locked), '{}')
    into v_locked, busy
    from (select limit_key, min(n) as n, bool_or(is_locked) as is_locked
          from (select taken.limit_key, taken.n, false as is_locked
                from unnest(p_turns) with ordinality as taken (limit_key, n)
                union all
                select limit_key, null, true from unnest(v_locked) limit_key) met
          group by limit_key) turn;

    v_now := dtsched.now();
    select coalesce(array_agg(found.limit_key order by found.n) filter (where found.seats > 0), '{}'),
        coalesce(array_agg(found.seats order by found.n) filter (where found.seats > 0), '{}'),
        coalesce(array_agg(found.limit_key) filter (where found.watched), '{}'),
        coalesce(array_agg(found.limit_key) filter (where found.watched or found.wake_at is not null), '{}')
    into v_keys, v_seats, watched, open
    from (select met.limit_key, min(met.n) as n, min(met.seats) as seats, bool_or(met.watched) as watched,
              min(met.wake_at) as wake_at
          from (select limit_key, n, null::integer as seats, null::boolean as watched, null::timestamptz as wake_at
                from unnest(v_locked) with ordinality as turn (limit_key, n)
                union all
                select room.limit_key, null, room.seats, room.watched, room.wake_at
                from dtsched.seats(p_queue, v_locked, v_now) room) met
          group by met.limit_key) found;
    while v_left > 0 and v_keys <> '{}' loop
        with candidate as materialized (
            select room.n, room.limit_key, room.seats, entry.job_id,
                row_number() over (partition by room.n, job.id is not null order by entry.nth) as nth,
                job.id is not null as is_ready
            from unnest(v_keys, v_seats) with ordinality as room (limit_key, seats, n)
            cross join lateral (
                select head.job_id, row_number() over () as nth
                from (select entry.job_id
                      from dtsched.parked entry
                      where entry.limit_key = room.limit_key and entry.queue = p_queue and entry.reason = 'limit'
                      order by entry.priority desc, entry.job_id
                      limit least(room.seats, 1 + v_left / cardinality(v_keys)) + v_more
                      for update skip locked) head) entry
            left join dtsched.jobs job
                on job.id = entry.job_id and job.state = 'ready' and job.queue = p_queue and job.limit_key = room.limit_key
        ),
        chosen as materialized (
            select candidate.n, candidate.limit_key, candidate.job_id
            from candidate
            where candidate.is_ready and candidate.nth <= candidate.seats
            order by candidate.nth, candidate.n
            limit v_left
        ),
        stale as materialized (
            select candidate.n, candidate.job_id from candidate where not candidate.is_ready
        ),
        gone as (
            delete from dtsched.parked entry
            where entry.job_id = any (array(select chosen.job_id from chosen))
        )
        select coalesce((select array_agg(chosen.job_id) from chosen), '{}'),
            coalesce((select array_agg(chosen.limit_key) from chosen), '{}'),
            array(select count(taken.job_id)::integer
                  from (select key.n, null::bigint as job_id from generate_subscripts(v_keys, 1) key (n)
                        union all
                        select chosen.n, chosen.job_id from chosen) taken
                  group by taken.n
                  order by taken.n),
            array(select distinct stale.n from stale),
            array(select stale.job_id from stale)
        into v_ids, v_keys_of_ids, v_taken, v_stale, v_stale_jobs;
        if v_stale <> '{}' then  -- jobs that were cancelled while they waited: there may be many
            v_more := least(2 * v_more + 10, 1000);
            -- a new statement: while that one read, promote() may have made the job ready, and its entry good
            delete from dtsched.parked entry
            where entry.job_id = any (v_stale_jobs)
                and not exists (
                    select
                    from dtsched.jobs job
                    where job.id = entry.job_id and job.state = 'ready' and job.queue = p_queue
                        and job.limit_key = entry.limit_key);
        end if;
        ids := ids || v_ids;
        keys := keys || v_keys_of_ids;
        v_left := v_left - cardinality(v_ids);
        if v_left = 0 then  -- they did not get what they might have had
            open := open || array(select room.limit_key
                                  from unnest(v_keys, v_seats, v_taken) as room (limit_key, seats, taken)
                                  where room.taken < room.seats);
        else  -- if there are more jobs of theirs, somebody holds them
            busy := busy || array(select room.limit_key
                                  from unnest(v_keys, v_seats, v_taken) with ordinality as room (limit_key, seats, taken, n)
                                  where room.taken = 0 and room.n <> all (v_stale));
        end if;
        select coalesce(array_agg(room.limit_key order by room.n), '{}'),
            coalesce(array_agg(room.seats - room.taken order by room.n), '{}')
        into v_keys, v_seats
        from unnest(v_keys, v_seats, v_taken) with ordinality as room (limit_key, seats, taken, n)
        where room.taken < room.seats and (room.taken > 0 or room.n = any (v_stale));
        v_rounds := v_rounds - 1;
        exit when v_rounds = 0;
    end loop;
    if p_limit <= 0 or v_rounds = 0 then  -- a claim is short, and the next one goes on
        open := open || v_keys;
    end if;
end $$;

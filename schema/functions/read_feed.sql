-- What has been committed to the feed since p_since, which is the `upto` of an earlier call on any session: each row is in
-- exactly one of consecutive calls, however late its transaction commits. In a first row, without an event, `upto`; `told`
-- false says that the feed cannot vouch for the time since p_since: nobody watched, it has been pruned, or p_since is null or
-- no such text. Then there is no other row. Of one job, rows come in the order in which things happened. At most
-- p_limit + 1 events: more than p_limit means that there are others. p_upto (an earlier `upto` too): only what that shows.
--
-- A snapshot of transactions, not a number, is what tells apart what was read: numbers and times are drawn before the commit.
-- What p_since does not show are the transactions that were open then, and those that began later.
-- Reads feed_pkey.
create or replace function dtsched.read_feed(p_since text, p_upto text default null, p_limit integer default 20000)
returns table (
    upto text,
    told boolean,
    event text,
    job_id bigint,
    queue text,
    task text,
    state text,
    attempt integer,
    at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_watch dtsched.feed_watch%rowtype;
    v_since pg_snapshot;
    v_upto pg_snapshot;
    v_told boolean;
begin
    select watch.* into v_watch from dtsched.feed_watch watch;
    v_since := dtsched.feed_snapshot(p_since, v_watch.epoch);
    v_upto := case when p_upto is null then pg_current_snapshot() else dtsched.feed_snapshot(p_upto, v_watch.epoch) end;
    v_told := coalesce(
        pg_snapshot_xmax(v_since) <= pg_snapshot_xmax(v_upto)
        and pg_snapshot_xmax(v_since) > v_watch.since
        and not exists (  -- one that may not have told everything, and has ended since
            select from pg_snapshot_xip(v_since) open (xid)
            where open.xid <= v_watch.since and pg_visible_in_snapshot(open.xid, v_upto))
        and (v_watch.pruned is null
             or pg_snapshot_xmax(v_watch.pruned) <= pg_snapshot_xmax(v_since)
             and not exists (
                 select from pg_snapshot_xip(v_since) open (xid) where pg_visible_in_snapshot(open.xid, v_watch.pruned))),
        false);
    return query
    select v_watch.epoch || '~' || v_upto, v_told, null::text, null::bigint, null::text, null::text, null::text,
        null::integer, null::timestamptz;
    if v_told then
        return query
        select null::text, null::boolean, new.event, new.job_id, new.queue, new.task, new.state, new.attempt, new.at
        from (
            select later.*
            from dtsched.feed later
            where later.xid >= pg_snapshot_xmax(v_since)
            union all
            select late.*
            from pg_snapshot_xip(v_since) open (xid)
            cross join lateral (select late.* from dtsched.feed late where late.xid = open.xid offset 0) late) new
        where pg_visible_in_snapshot(new.xid, v_upto)
        order by new.id
        limit p_limit + 1;
    end if;
end $$;

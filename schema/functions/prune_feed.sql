-- Deletes what has been in the feed for ten minutes, and returns how many rows that were; as many as p_limit: there are more.
-- Every minute it marks what has been committed by then. What is as old as the oldest mark is first declared gone, so that who
-- would need it is told (see read_feed), and then deleted. Safe to run from everywhere at once. Locks: feed_watch, SKIP LOCKED.
create or replace function dtsched.prune_feed(p_limit integer default 10000) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_now constant timestamptz := dtsched.now();
    v_watch dtsched.feed_watch%rowtype;
    v_old integer;
    v_deleted integer;
begin
    if not exists (select from dtsched.feed) then
        return 0;
    end if;
    select watch.* into v_watch from dtsched.feed_watch watch for update skip locked;
    if not found then
        return 0;
    end if;
    select count(*) into v_old from unnest(v_watch.marked_at) at where at <= v_now - interval '10 minutes';
    if v_old > 0 or (v_watch.marked_at[cardinality(v_watch.marked_at)] between v_now - interval '1 minute' and v_now) is not true then
        update dtsched.feed_watch
        set pruned = case when v_old > 0 then v_watch.marks[v_old] else pruned end,
            marks = array_append(v_watch.marks[v_old + 1:], pg_current_snapshot()),
            marked_at = array_append(v_watch.marked_at[v_old + 1:], v_now)
        returning pruned into v_watch.pruned;
    end if;
    delete from dtsched.feed old
    where (old.xid, old.id) in (
        select old.xid, old.id
        from dtsched.feed old
        where old.xid < pg_snapshot_xmax(v_watch.pruned) and pg_visible_in_snapshot(old.xid, v_watch.pruned)
        order by old.xid, old.id
        limit p_limit);
    get diagnostics v_deleted = row_count;
    return v_deleted;
end $$;

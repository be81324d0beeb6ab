-- From here on, until unwatch_feed() or the end of the session, what happens to jobs is written into the feed. The epoch: the
-- one that there is when somebody else has been watching all the time, else a new one, and what the feed says of the time
-- before does not count (see read_feed). Null: nothing was taken, try again. To be called once by a session, in a
-- transaction of its own.
--
-- Watchers begin one at a time, so whoever else has the gate when we have it has had it since before; and while we have it,
-- nobody who tests it can. A transaction that may have found the gate open has an xid below the one drawn here: it wrote
-- before it tested, and it tested before we had the lock.
-- Locks: an advisory lock to the commit, a shared one of the session, then feed_watch; waits for neither lock.
create or replace function dtsched.watch_feed() returns text
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_gate constant integer := dtsched.feed_gate();
    v_epoch text;
begin
    perform dtsched.require_read_committed();
    if not pg_try_advisory_xact_lock(v_gate, 0) then
        return null;
    end if;
    for v_try in 1..20 loop
        exit when pg_try_advisory_lock_shared(v_gate);
        if v_try = 20 then
            return null;
        end if;
        perform pg_sleep(0.002);
    end loop;
    begin
        if (case when pg_try_advisory_lock(v_gate) then pg_advisory_unlock(v_gate) else false end) then
            update dtsched.feed_watch
            set epoch = left(replace(gen_random_uuid()::text, '-', ''), 8),
                since = pg_current_xact_id(),
                pruned = null,
                marks = '{}',
                marked_at = '{}';
            -- what came with a dump: its transactions are still to come here
            delete from dtsched.feed old where old.xid >= pg_snapshot_xmax(pg_current_snapshot());
        end if;
        select watch.epoch into v_epoch from dtsched.feed_watch watch;
    exception  -- the lock would outlive the transaction, and the next watcher trust an epoch that does not count
        when query_canceled or others then
            perform pg_advisory_unlock_shared(v_gate);
            raise;
    end;
    return v_epoch;
end $$;

-- Whether somebody watches the feed: who does holds a shared advisory lock, and trying the exclusive one tells. Twice, because
-- another transaction may be trying just now; if that happens both times, a row is written in vain. To be asked after the
-- transaction has written something (see watch_feed). Inlined.
create or replace function dtsched.feed_watched() returns boolean
language sql volatile
as $$
    -- one expression each, so that nothing can come between the lock and its release
    select not case when pg_try_advisory_lock(dtsched.feed_gate())
                    then pg_advisory_unlock(dtsched.feed_gate()) else false end
        and not case when pg_try_advisory_lock(dtsched.feed_gate())
                     then pg_advisory_unlock(dtsched.feed_gate()) else false end
$$;

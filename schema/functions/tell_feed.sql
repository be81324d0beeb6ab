-- Writes into the feed, if somebody watches, what has just happened to these jobs (p_event; null: the state that they are in),
-- or to those of them that are in p_state. In the transaction of what happened, and after that has been written.
create or replace function dtsched.tell_feed(p_jobs bigint[], p_event text, p_state text default null) returns void
language plpgsql
as $$
begin
    if dtsched.feed_watched() then
        perform dtsched.write_feed(p_jobs, p_event, p_state);
    end if;
end $$;

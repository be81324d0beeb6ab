-- The snapshot in an `upto` of read_feed(); null for one of another epoch, and for what is none.
create or replace function dtsched.feed_snapshot(p_upto text, p_epoch text) returns pg_snapshot
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if p_upto ~ '^[0-9a-f]{8}~[0-9]{1,19}:[0-9]{1,19}:[0-9,]*$' and left(p_upto, 8) = p_epoch then
        return substr(p_upto, 10)::pg_snapshot;
    end if;
    return null;
exception
    when data_exception then
        return null;
end $$;

-- Raises JQ001 for what cannot be the name of a queue.
create or replace function dtsched.require_queue_name(p_queue text) returns void
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if p_queue is null or p_queue !~ '^[A-Za-z0-9._:-]+$' or octet_length(p_queue) > 128 then
        raise exception 'queue must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %',
            coalesce(dtsched.shown(to_jsonb(p_queue)), 'null') using errcode = 'JQ001';
    end if;
end $$;

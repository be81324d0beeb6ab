-- Raises JQ004 unless this is a worker over HTTP of this owner (null: without API keys): of somebody else's it says what it
-- says where there is none. Locks nothing.
create or replace function dtsched.require_http_worker(p_worker uuid, p_owner text) returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    perform from dtsched.workers worker
    where worker.id = p_worker and worker.over_http and worker.owner is not distinct from p_owner;
    if not found then
        raise exception 'there is no worker % here', p_worker using errcode = 'JQ004';
    end if;
end $$;

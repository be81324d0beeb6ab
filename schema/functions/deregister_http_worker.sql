-- deregister_worker() of a worker over HTTP. Raises JQ004 for one that is not this owner's. Locks: deregister_worker's.
create or replace function dtsched.deregister_http_worker(p_worker uuid, p_owner text) returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
begin
    perform dtsched.require_http_worker(p_worker, p_owner);
    return dtsched.deregister_worker(p_worker);
end $$;

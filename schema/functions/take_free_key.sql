-- Has a job hold a key if nobody holds it. Waits for a rival that has not committed yet, and locks nothing of others.
create or replace function dtsched.take_free_key(p_key text, p_job bigint, p_until timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    insert into dtsched.keys (key, job_id, until) values (p_key, p_job, p_until) on conflict do nothing;
    return found;
end $$;

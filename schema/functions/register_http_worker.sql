-- Registers a worker for which a server acts, and returns its id. p_owner is the name of the API key that it comes with: from
-- then on calls for it count only from there. Raises and locks what register_worker() does.
create or replace function dtsched.register_http_worker(
    p_name text,
    p_queues text[],
    p_tasks text[],
    p_slots integer,
    p_lease interval,
    p_labels jsonb default '{}',
    p_owner text default null
)
returns uuid
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_worker uuid := gen_random_uuid();
begin
    perform dtsched.register_worker(v_worker, p_name, p_queues, p_tasks, p_slots, p_lease);
    update dtsched.workers worker
    set over_http = true,
        owner = p_owner,
        labels = p_labels
    where worker.id = v_worker;
    return v_worker;
end $$;

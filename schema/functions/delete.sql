-- Deletes jobs with their results, attempts, steps and log lines, and says for each what came of it: deleted, running (cancel it first), busy
-- (somebody holds its row, or is about to take its key: try again), missing. A job that waits is cancelled before, with those
-- that depend on it; they are not deleted. Entries of ready, scheduled and parked stay and are dropped by whoever meets them.
-- Waits as cancel() does. Locks: cancel_waiting's, then jobs by id and keys, SKIP LOCKED.
create or replace function dtsched.delete(p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_locked bigint[];
    v_kept bigint[];
begin
    perform dtsched.cancel_waiting(p_ids);
    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_ids) and job.state in ('completed', 'failed', 'cancelled')
        order by job.id
        for update skip locked);
    v_kept := dtsched.free_keys_of_deleted(v_locked);
    v_locked := array(select id from unnest(v_locked) id where id <> all (v_kept));
    if v_locked <> '{}' then
        perform dtsched.forget(v_locked);
        perform dtsched.announce_ended(v_locked);
    end if;
    return query
    select asked.id, case
        when asked.id = any (v_locked) then 'deleted'
        when job.id is null then 'missing'
        when job.state = 'running' then 'running'
        else 'busy' end
    from unnest(p_ids) asked (id)
    left join dtsched.jobs job on job.id = asked.id;
end $$;

create or replace function dtsched.delete(p_id bigint) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.delete(array[p_id]) $$;

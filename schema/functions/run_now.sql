-- Makes scheduled jobs ready at once, and says for each what came of it: ready (it is, or was already), blocked (it waits for
-- other jobs; when they have ended it will not wait any longer), running, finished, busy (somebody holds its row: try again),
-- missing. A sleep or a wait for an event ends with it (see move_waits). An entry of scheduled stays and is dropped when its
-- time comes. Waits for nobody. Locks: jobs by id SKIP LOCKED.
create or replace function dtsched.run_now(p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select moved.job_id, case moved.outcome when 'scheduled' then 'ready' else moved.outcome end
    from dtsched.move(p_ids, dtsched.now()) moved;
end $$;

create or replace function dtsched.run_now(p_id bigint) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.run_now(array[p_id]) $$;

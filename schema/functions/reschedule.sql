-- Has waiting jobs run at another time, and says for each what came of it: scheduled, ready (that time has come), blocked (it
-- waits for other jobs, and for that time), running, finished (see retry), busy (somebody holds its row: try again), missing.
-- Raises JQ001 for a time that no job may have. Waits for nobody. Locks: jobs by id SKIP LOCKED.
create or replace function dtsched.reschedule(p_ids bigint[], p_run_at timestamptz)
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    if p_run_at is null or p_run_at < '1970-01-01 00:00Z' or p_run_at >= '10000-01-01 00:00Z' then
        raise exception 'run_at must be a finite time from 1970 to 9999, not %', coalesce(p_run_at::text, 'null')
            using errcode = 'JQ001';
    end if;
    return query select moved.job_id, moved.outcome from dtsched.move(p_ids, p_run_at) moved;
end $$;

create or replace function dtsched.reschedule(p_id bigint, p_run_at timestamptz) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.reschedule(array[p_id], p_run_at) $$;

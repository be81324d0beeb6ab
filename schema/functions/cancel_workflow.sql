-- Cancels every unfinished job of a workflow, and says for each of them what came of it, as cancel() does, which see; no row
-- when all had ended. Jobs that are submitted later, or committed later, are not cancelled. Raises JQ004 without such a
-- workflow. Locks: cancel()'s, then the workflow's row.
create or replace function dtsched.cancel_workflow(p_id bigint)
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    return query
    select cancelled.job_id, cancelled.outcome
    from dtsched.cancel(dtsched.jobs_of_workflow(p_id, '{blocked,scheduled,ready,running}')) cancelled;
    if found then
        update dtsched.workflows workflow set cancelled_at = dtsched.now() where workflow.id = p_id;
    end if;
end $$;

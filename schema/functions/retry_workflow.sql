-- Has the failed and cancelled jobs of a workflow run again, skipped ones left out, and says for each what came of it, as
-- retry() does, which see. Raises JQ004 without such a workflow. Locks: retry()'s, then the workflow's row.
create or replace function dtsched.retry_workflow(p_id bigint)
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    return query
    select retried.job_id, retried.outcome
    from dtsched.retry(dtsched.jobs_of_workflow(p_id, '{failed,cancelled}')) retried;
    if found then
        update dtsched.workflows workflow set cancelled_at = null where workflow.id = p_id;
    end if;
end $$;

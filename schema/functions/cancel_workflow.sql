-- Cancels every unfinished job of a workflow, and says for each of them what came of it, as cancel() does, which see; no row
-- when all had ended. Jobs that are submitted later, or committed later, are not cancelled. Raises JQ004 without such a
-- workflow. Locks: cancel()'s, then the workflow's row.
create or replace function dtsched.cancel_workflow(p_id bigint)
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    if not exists (select from dtsched.workflows workflow where workflow.id = p_id) then
        raise exception 'there is no workflow %', p_id using errcode = 'JQ004';
    end if;
    return query
    select cancelled.job_id, cancelled.outcome
    from dtsched.cancel(array(
        select job.id
        from dtsched.jobs job
        where job.workflow_id = p_id and job.state in ('blocked', 'scheduled', 'ready', 'running')
        order by job.id)) cancelled;
    if found then
        update dtsched.workflows workflow set cancelled_at = dtsched.now() where workflow.id = p_id;
    end if;
end $$;

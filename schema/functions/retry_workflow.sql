-- Has the failed and cancelled jobs of a workflow run again, skipped ones left out, and says for each what came of it, as
-- retry() does, which see. Raises JQ004 without such a workflow. Locks: retry()'s, then the workflow's row.
create or replace function dtsched.retry_workflow(p_id bigint)
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
    select retried.job_id, retried.outcome
    from dtsched.retry(array(
        select job.id
        from dtsched.jobs job
        where job.workflow_id = p_id and job.state in ('failed', 'cancelled') and job.skipped is not true
        order by job.id)) retried;
    if found then
        update dtsched.workflows workflow set cancelled_at = null where workflow.id = p_id;
    end if;
end $$;

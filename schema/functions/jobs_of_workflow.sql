-- The jobs of a workflow that are in these states, skipped ones left out, by id. Raises JQ004 when there is no such workflow.
-- Reads jobs_workflow_idx.
create or replace function dtsched.jobs_of_workflow(p_id bigint, p_states text[]) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    if not exists (select from dtsched.workflows workflow where workflow.id = p_id) then
        raise exception 'there is no workflow %', p_id using errcode = 'JQ004';
    end if;
    return array(
        select job.id
        from dtsched.jobs job
        where job.workflow_id = p_id and job.state = any (p_states) and job.skipped is not true
        order by job.id);
end $$;

-- Raises JQ001 when one of these workflows does not exist; null is none. Reads workflows_pkey.
create or replace function dtsched.require_workflows(p_ids bigint[]) returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
declare
    v_missing bigint;
begin
    select min(wanted.id)
    into v_missing
    from unnest(p_ids) wanted (id)
    where wanted.id is not null
        and not exists (select from dtsched.workflows workflow where workflow.id = wanted.id);
    if v_missing is not null then
        raise exception 'there is no workflow %: create_workflow() makes one', v_missing
            using errcode = 'JQ001', column = 'workflow';
    end if;
end $$;

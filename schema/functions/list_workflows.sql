-- The workflows with ids below p_before, newest first, at most 200, with the columns of workflow(). Reads workflows_pkey and
-- every job of theirs.
create or replace function dtsched.list_workflows(p_before bigint default null, p_limit integer default 50)
returns table (
    id bigint,
    name text,
    state text,
    progress double precision,
    jobs jsonb,
    created_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    cancelled_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select *
    from dtsched.figures_of_workflows(array(
        select workflow.id
        from dtsched.workflows workflow
        where p_before is null or workflow.id < p_before
        order by workflow.id desc
        limit least(p_limit, 200)))
$$;

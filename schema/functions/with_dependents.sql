-- The problems of a batch and those of the jobs that depend on a wrong one, however far. An edge is a child and its parent, both
-- numbers in the batch.
create or replace function dtsched.with_dependents(p_wrong jsonb[], p_children integer[], p_parents integer[]) returns jsonb[]
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
set enable_nestloop = off  -- it goes through all edges for each wrong job
set enable_mergejoin = off
as $$
    with recursive edge as materialized (
        select edge.child, edge.parent
        from unnest(p_children, p_parents) as edge (child, parent)
        where not exists (
            select from unnest(p_wrong) with ordinality as wrong (it, n) where wrong.n = edge.child and wrong.it is not null)
    ),
    wrong (n) as (
        select wrong.n::integer from unnest(p_wrong) with ordinality as wrong (it, n) where wrong.it is not null
        union
        select edge.child from wrong join edge on edge.parent = wrong.n
    )
    select dtsched.with_problems(p_wrong, jsonb_object_agg(refused.child, dtsched.problem('parent-refused', 'depends_on',
        format('depends_on names job %s of the batch, which is refused itself', refused.parent))))
    from (select edge.child, min(edge.parent) as parent
          from edge
          join wrong on wrong.n = edge.parent
          group by edge.child) refused
$$;

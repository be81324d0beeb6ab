-- circle() of edges between jobs: the ids of one circle, each before the one it waits for; null without one.
create or replace function dtsched.circle_of(p_children bigint[], p_parents bigint[]) returns bigint[]
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_jobs bigint[];
    v_children integer[];
    v_parents integer[];
begin
    v_jobs := array(select id from unnest(p_children) id union select id from unnest(p_parents) id order by 1);
    select array_agg(child.n), array_agg(parent.n)
    into v_children, v_parents
    from (select distinct edge.child_id, edge.parent_id
          from unnest(p_children, p_parents) as edge (child_id, parent_id)) edge
    join unnest(v_jobs) with ordinality as child (id, n) on child.id = edge.child_id
    join unnest(v_jobs) with ordinality as parent (id, n) on parent.id = edge.parent_id;
    return (select array_agg(v_jobs[member.n] order by member.place)
            from unnest(dtsched.circle(v_children, v_parents, cardinality(v_jobs))) with ordinality as member (n, place));
end $$;

-- A circle among these edges, in each of which a child waits for a parent: its members, each before the one it waits for;
-- null without one. All are numbers from 1 to p_count, and no edge is there twice. Takes time in proportion to the edges.
create or replace function dtsched.circle(p_children integer[], p_parents integer[], p_count integer) returns integer[]
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_children integer[];  -- in the order of their parents
    v_first integer[];  -- where in there those of each parent begin
    v_waiting integer[];  -- for how many parents each one waits
    v_free integer[];
    v_parent integer[];  -- one that each waits for
    v_circle integer[] := '{}';
    v_one integer;
    v_at integer := 1;
begin
    v_children := array(
        select edge.child from unnest(p_children, p_parents) as edge (child, parent) order by edge.parent);
    select array_agg(coalesce(parents.count, 0) order by n), array_agg(n order by n) filter (where parents.count is null)
    into v_waiting, v_free
    from generate_series(1, p_count) n
    left join (select child, count(*)::integer from unnest(p_children) child group by child) parents on parents.child = n;
    v_first := array(
        select 1 + coalesce(sum(children.count) over (order by n rows between unbounded preceding and 1 preceding), 0)
        from generate_series(1, p_count + 1) n
        left join (select parent, count(*) from unnest(p_parents) parent group by parent) children on children.parent = n
        order by n);

    -- who waits for nobody is taken away, and with it the wait of its children; a circle is never taken away
    while v_at <= cardinality(v_free) loop
        for v_edge in v_first[v_free[v_at]] .. v_first[v_free[v_at] + 1] - 1 loop
            v_one := v_children[v_edge];
            v_waiting[v_one] := v_waiting[v_one] - 1;
            if v_waiting[v_one] = 0 then
                v_free := array_append(v_free, v_one);
            end if;
        end loop;
        v_at := v_at + 1;
    end loop;
    if coalesce(cardinality(v_free), 0) = p_count then
        return null;
    end if;

    -- whoever is left waits for somebody who is left; after as many steps as there are, one is in a circle
    select array_agg(edge.parent order by n)
    into v_parent
    from generate_series(1, p_count) n
    left join (select child, min(parent) as parent
               from unnest(p_children, p_parents) as edge (child, parent)
               where v_waiting[parent] > 0
               group by child) edge on edge.child = n;
    v_one := array_position(array(select waiting > 0 from unnest(v_waiting) waiting), true);
    for v_step in 1 .. p_count loop
        v_one := v_parent[v_one];
    end loop;
    while v_one <> all (v_circle) loop
        v_circle := array_append(v_circle, v_one);
        v_one := v_parent[v_one];
    end loop;
    return v_circle;
end $$;

-- Raises JQ001 when these jobs wait for each other in a circle, and names three of them. An edge is a child and its parent.
create or replace function dtsched.refuse_circle(p_children bigint[], p_parents bigint[]) returns void
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_circle bigint[] := dtsched.circle_of(p_children, p_parents);
begin
    if v_circle is not null then
        raise exception 'depends_on goes in a circle, in which jobs wait for each other for ever: %',
            array_to_string(v_circle[:3], ', ')
            || case when cardinality(v_circle) > 3 then format(' and %s more', cardinality(v_circle) - 3) else '' end
            using errcode = 'JQ001', column = 'depends_on';
    end if;
end $$;

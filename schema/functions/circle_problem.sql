-- The sentence that refuses a circle in a batch of p_count jobs, of which it names three: p_members are their numbers.
create or replace function dtsched.circle_problem(p_jobs jsonb, p_members integer[], p_count integer) returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select 'depends_on goes in a circle, in which jobs wait for each other for ever: '
        || (select string_agg(coalesce(dtsched.shown(nullif(p_jobs -> (member.n - 1) -> 'key', 'null')), 'entry ' || member.n),
                              ', ' order by member.place)
            from unnest(p_members[:3]) with ordinality as member (n, place))
        || case when p_count > 3 then format(' and %s more', p_count - 3) else '' end
$$;

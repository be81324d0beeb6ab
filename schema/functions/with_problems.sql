-- The problems of a batch and these, by number, where there was none.
create or replace function dtsched.with_problems(p_wrong jsonb[], p_found jsonb) returns jsonb[]
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case when p_found is null then p_wrong
                else array(select coalesce(wrong.it, p_found -> wrong.n::text)
                           from unnest(p_wrong) with ordinality as wrong (it, n)
                           order by wrong.n) end
$$;

-- These jobs of a batch, by their numbers in order, as a batch of their own: what depends on one of them by its number names the
-- new number. None of them depends on one that is left out.
create or replace function dtsched.part_of_batch(p_jobs jsonb, p_numbers integer[]) returns jsonb
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    with new as materialized (
        select jsonb_object_agg(part.old, part.n) as numbers from unnest(p_numbers) with ordinality as part (old, n)
    )
    select coalesce(jsonb_agg(case
        when jsonb_path_exists(given.job, '$.depends_on[*].entry')
            then jsonb_set(given.job, '{depends_on}', (
                select jsonb_agg(case when parent.it ? 'entry' and jsonb_typeof(parent.it) = 'object'
                                      then jsonb_set(parent.it, '{entry}', new.numbers -> (parent.it ->> 'entry'))
                                      else parent.it end order by parent.n)
                from jsonb_array_elements(given.job -> 'depends_on') with ordinality as parent (it, n)))
        else given.job end order by given.n), '[]')
    from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
    cross join new
    where new.numbers ? given.n::text
$$;

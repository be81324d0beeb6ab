-- What is wrong with the references to parents' results ({"$parent": n}) among args, in one sentence, or null. p_parents is
-- how many depends_on has; a job without parents has no references, and its args are taken as they are.
create or replace function dtsched.reference_problem(p_args jsonb, p_parents integer) returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select format('args.%s must be {"$parent": n}, n from 1 to %s as depends_on counts, not %s', given.key, p_parents,
                  dtsched.shown(given.value))
    from jsonb_each(p_args) given
    where jsonb_typeof(given.value) = 'object' and given.value ? '$parent'
        and (given.value - '$parent' <> '{}' or jsonb_typeof(given.value -> '$parent') <> 'number'
             or given.value ->> '$parent' !~ '^[1-9][0-9]{0,5}$'
             or (given.value ->> '$parent')::numeric > p_parents)
    order by given.key
    limit 1
$$;

-- {"cancelled": 2} and the outcomes of more jobs, added up.
create or replace function dtsched.more_outcomes(p_counts jsonb, p_outcomes text[]) returns jsonb
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select coalesce(jsonb_object_agg(summed.outcome, summed.jobs), '{}')
    from (
        select each.outcome, sum(each.jobs)::bigint as jobs
        from (
            select counted.key as outcome, counted.value::bigint as jobs from jsonb_each_text(p_counts) counted
            union all
            select met.outcome, 1 from unnest(p_outcomes) met (outcome)) each
        group by each.outcome) summed
$$;

-- The results of some parents of a job, by their places in depends_on, from 1: null for one that did not complete or has been
-- deleted. A place that depends_on does not have gives no row.
create or replace function dtsched.parent_results(p_job bigint, p_places integer[])
returns table (place integer, result jsonb)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select wanted.place, parent.result
    from dtsched.jobs child
    cross join lateral (select distinct place from unnest(p_places) place) wanted
    left join lateral (
        select coalesce(stored.result, parent.result) as result
        from dtsched.jobs parent
        left join dtsched.results stored on stored.job_id = parent.id
        where parent.id = child.depends_on[wanted.place] and parent.state = 'completed') parent on true
    where child.id = p_job and wanted.place between 1 and cardinality(child.depends_on)
$$;

-- The edges of these jobs to the parents that they name, one row each: on_failure is what was said of the edge, else of the
-- job, else cancel; of a parent that is named twice the strictest counts (cancel, then skip). The parent may be missing.
-- Reads jobs_pkey.
create or replace function dtsched.edges_of(p_jobs bigint[])
returns table (child_id bigint, parent_id bigint, on_failure text)
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select job.id, edge.parent_id,
        case min(case coalesce(edge.on_failure, job.on_parent_failure, 'cancel') when 'cancel' then 1 when 'skip' then 2 else 3 end)
            when 1 then 'cancel' when 2 then 'skip' else 'run' end
    from dtsched.jobs job
    cross join lateral unnest(job.depends_on::bigint[], job.parent_policies) as edge (parent_id, on_failure)
    where job.id = any (p_jobs) and edge.parent_id is not null
    group by job.id, edge.parent_id
$$;

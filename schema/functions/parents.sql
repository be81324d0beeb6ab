-- The jobs that a job depends on, with their results, in id order.
create or replace function dtsched.parents(p_job bigint)
returns table (job_id bigint, state text, result jsonb)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select parent.id, parent.state, coalesce(stored.result, parent.result)
    from dtsched.jobs child
    cross join lateral unnest(child.depends_on) as edge (parent_id)
    join dtsched.jobs parent on parent.id = edge.parent_id
    left join dtsched.results stored on stored.job_id = parent.id
    where child.id = p_job
    order by parent.id
$$;

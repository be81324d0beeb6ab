-- batch_problems() as one object: problems by the numbers of the jobs, with those that are known.
create or replace function dtsched.problems_by_number(p_jobs jsonb, p_check_tasks boolean, p_known jsonb, p_queues text[] default null)
returns jsonb
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select coalesce(jsonb_object_agg(found.n, dtsched.problem(found.code, found.field, found.problem)), '{}')
    from dtsched.batch_problems(p_jobs, p_check_tasks, p_known, p_queues) found
$$;

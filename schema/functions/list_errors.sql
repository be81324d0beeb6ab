-- Failed jobs by the kind of their error and their task, the most frequent first: those that failed since p_since, of some
-- queues and tasks where those are given (null: all). Looks at the p_scan newest of all failed jobs at most; complete says whether
-- there are no others. Returns {"groups": [{fingerprint, error, task, queues, count, first_at, last_at, jobs}, …], "looked_at": n, "complete": true};
-- jobs are the ids of the newest 5. Reads unsuccessful_pkey and jobs_pkey.
create or replace function dtsched.list_errors(
    p_since timestamptz, p_queues text[] default null, p_tasks text[] default null, p_limit integer default 50, p_scan integer default 20000)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_ids bigint[] := array(
        select ended.job_id
        from dtsched.unsuccessful ended
        where ended.state = 'failed'
        order by ended.job_id desc
        limit p_scan + 1);
    v_groups jsonb;
begin
    -- equal errors are many: their shape is asked for once
    with alike as materialized (
        select job.task::text, coalesce(job.error, '') as error, array_agg(distinct job.queue::text) as queues, count(*) as jobs,
            min(job.finished_at) as first_at, max(job.finished_at) as last_at, (array_agg(job.id order by job.id desc))[:5] as ids
        from dtsched.jobs job
        where job.id = any (v_ids[:p_scan]) and job.state = 'failed' and job.finished_at >= p_since
            and (p_queues is null or job.queue = any (p_queues))
            and (p_tasks is null or job.task = any (p_tasks))
        group by 1, 2
    ),
    shaped as materialized (
        select dtsched.fingerprint(alike.error) as fingerprint, dtsched.error_shape(alike.error) as shape, alike.* from alike
    ),
    found as (
        select shaped.fingerprint, min(shaped.shape) as error, shaped.task, sum(shaped.jobs) as count,
            min(shaped.first_at) as first_at, max(shaped.last_at) as last_at
        from shaped
        group by shaped.fingerprint, shaped.task
        order by count desc, last_at desc, shaped.fingerprint, shaped.task
        limit p_limit
    )
    select jsonb_agg(jsonb_build_object(
        'fingerprint', found.fingerprint, 'error', found.error, 'task', found.task, 'count', found.count,
        'first_at', found.first_at, 'last_at', found.last_at,
        'queues', (select jsonb_agg(distinct queue order by queue)
                   from shaped cross join unnest(shaped.queues) queue
                   where shaped.fingerprint = found.fingerprint and shaped.task = found.task),
        'jobs', (select jsonb_agg(newest.id order by newest.id desc)
                 from (select id
                       from shaped cross join unnest(shaped.ids) id
                       where shaped.fingerprint = found.fingerprint and shaped.task = found.task
                       order by id desc
                       limit 5) newest)) order by found.count desc, found.last_at desc, found.fingerprint, found.task)
    into v_groups
    from found;
    return jsonb_build_object('groups', coalesce(v_groups, '[]'), 'looked_at', least(cardinality(v_ids), p_scan),
                              'complete', cardinality(v_ids) <= p_scan);
end $$;

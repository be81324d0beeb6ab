-- Sets locked ready jobs aside that a claim may not start: in parked, because its worker does not know their task, or to wait
-- for a seat of their limit key, with a turn that brings them there. p_seated have a seat already. Returns the limit keys
-- whose seats were not used.
create or replace function dtsched.set_aside(p_jobs bigint[], p_seated bigint[], p_tasks text[]) returns text[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_unused text[];
begin
    with aside as materialized (
        select job.id, job.queue::text as queue, job.priority::smallint as priority, job.task::text as task,
            job.limit_key::text as limit_key, p_tasks is null or job.task = any (p_tasks) as known,
            (job.deadline <= dtsched.now()) is true as late  -- expire() ends it
        from dtsched.jobs job
        where job.id = any (p_jobs) and job.state = 'ready'
        order by job.id
    ),
    parked as (
        insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
        select aside.id, case when aside.known then 'limit' else 'task' end, aside.queue, aside.priority, aside.task,
            aside.limit_key
        from aside
        where not aside.late
        on conflict (job_id) do update  -- an entry from before it was changed
        set reason = excluded.reason, queue = excluded.queue, priority = excluded.priority, task = excluded.task,
            limit_key = excluded.limit_key
    ),
    turns as (
        insert into dtsched.ready (queue, priority, job_id, limit_key)
        select aside.queue, 10 + aside.priority, min(aside.id), aside.limit_key
        from aside
        where aside.known and not aside.late
        group by aside.queue, aside.priority, aside.limit_key
        on conflict do nothing  -- a turn of this very transaction
    )
    select coalesce(array_agg(distinct aside.limit_key), '{}')
    into v_unused
    from aside
    where aside.id = any (p_seated);
    return v_unused;
end $$;

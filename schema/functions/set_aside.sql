-- Sets locked ready jobs aside that a claim may not start: in parked, because its worker does not know their task, or to wait
-- for a seat of their limit key, with a turn that brings them there. p_seated have a seat already. unused are the limit keys
-- whose seats were not used; held are jobs of which another claim has an old entry of parked in hand, because a claim never
-- waits: two would wait for each other.
create or replace function dtsched.set_aside(
    p_jobs bigint[],
    p_seated bigint[],
    p_tasks text[],
    out unused text[],
    out held bigint[]
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_locked bigint[] := array(
        select entry.job_id from dtsched.parked entry where entry.job_id = any (p_jobs) for update skip locked);
begin
    -- in a new statement: who holds the row of a job sees the entry of it that there is, and nobody makes another
    held := array(
        select entry.job_id from dtsched.parked entry where entry.job_id = any (p_jobs) and entry.job_id <> all (v_locked));
    with aside as materialized (
        select job.id, job.queue::text as queue, job.priority::smallint as priority, job.task::text as task,
            job.limit_key::text as limit_key, p_tasks is null or job.task = any (p_tasks) as known,
            (job.deadline <= dtsched.now()) is true as late  -- expire() ends it
        from dtsched.jobs job
        where job.id = any (p_jobs) and job.id <> all (held) and job.state = 'ready'
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
    into unused
    from aside
    where aside.id = any (p_seated);
end $$;

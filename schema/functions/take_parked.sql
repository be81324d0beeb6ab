-- Takes up to p_limit jobs out of parked whose task the claimer knows (null = any task), and returns their ids, highest
-- priority first within a task. Reads parked_task_idx, task by task: sorted, every claim would read all that is parked.
-- Locks: up to p_limit entries of each task, SKIP LOCKED.
create or replace function dtsched.take_parked(p_queue text, p_limit integer, p_tasks text[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_tasks text[] := p_tasks;
    v_taken bigint[];
begin
    if p_limit <= 0 or not exists (select from dtsched.parked entry where entry.queue = p_queue and entry.reason = 'task') then
        return '{}';
    end if;
    if v_tasks is null then
        v_tasks := array(
            with recursive found (task) as (
                select min(entry.task) from dtsched.parked entry where entry.queue = p_queue and entry.reason = 'task'
                union all
                select (select min(entry.task) from dtsched.parked entry
                        where entry.queue = p_queue and entry.reason = 'task' and entry.task > found.task)
                from found
                where found.task is not null
            )
            select found.task from found where found.task is not null);
    end if;
    with chosen as materialized (
        select entry.job_id
        from unnest(v_tasks) known (task)
        cross join lateral (
            select entry.job_id, entry.priority
            from dtsched.parked entry
            where entry.queue = p_queue and entry.reason = 'task' and entry.task = known.task
            order by entry.priority desc, entry.job_id
            limit p_limit
            for update skip locked) entry
        order by entry.priority desc, entry.job_id
        limit p_limit
    ),
    taken as (
        delete from dtsched.parked entry
        where entry.job_id = any (array(select chosen.job_id from chosen))
        returning entry.job_id
    )
    select coalesce(array_agg(taken.job_id order by taken.job_id), '{}')
    into v_taken
    from taken;
    return v_taken;
end $$;

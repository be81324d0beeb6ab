-- Gives waiting jobs another run_at: run_now() and reschedule(). An entry of ready or scheduled that no longer fits stays, and
-- is dropped by whoever meets it. Tries three times for rows that somebody holds. Locks: jobs by id SKIP LOCKED.
create or replace function dtsched.move(p_ids bigint[], p_run_at timestamptz)
returns table (job_id bigint, outcome text)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_left bigint[] := p_ids;
    v_locked bigint[];
    v_moved bigint[] := '{}';
begin
    for v_try in 1..3 loop
        v_locked := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_left) and job.state in ('blocked', 'scheduled', 'ready')
            order by job.id
            for no key update skip locked);
        perform dtsched.move_waits(v_locked, p_run_at);
        with before as materialized (
            select job.id, job.state from dtsched.jobs job where job.id = any (v_locked)
        ),
        changed as (
            update dtsched.jobs job
            set state = case
                    when before.state = 'blocked' then 'blocked'
                    when p_run_at > dtsched.now() then 'scheduled'
                    else 'ready'
                end,
                run_at = case when before.state = 'ready' and p_run_at <= dtsched.now() then job.run_at else p_run_at end
            from before
            where job.id = before.id
            returning job.id, job.queue, job.priority, job.state, job.run_at, before.state as was
        ),
        later as (
            insert into dtsched.scheduled (run_at, job_id, queue)
            select changed.run_at, changed.id, changed.queue from changed where changed.state = 'scheduled'
            on conflict on constraint scheduled_pkey do update set queue = excluded.queue  -- an old entry, which fits again
        )
        insert into dtsched.ready (queue, priority, job_id)
        select changed.queue, changed.priority, changed.id
        from changed
        where changed.state = 'ready' and changed.was <> 'ready'
        on conflict do nothing;  -- an entry of this very transaction, which fits again
        v_moved := v_moved || v_locked;
        v_left := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_left) and job.id <> all (v_moved) and job.state in ('blocked', 'scheduled', 'ready'));
        exit when v_left = '{}';
        perform pg_sleep(0.01 * v_try);
    end loop;
    return query
    select asked.id, case
        when asked.id = any (v_left) then 'busy'
        when job.id is null then 'missing'
        when asked.id = any (v_moved) then job.state
        when job.state = 'running' then 'running'
        when job.state in ('completed', 'failed', 'cancelled') then 'finished'
        else 'busy' end
    from unnest(p_ids) asked (id)
    left join dtsched.jobs job on job.id = asked.id;
end $$;

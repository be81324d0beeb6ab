-- Moves jobs whose time has come from scheduled to ready, oldest first. Returns how many moved, and in how many seconds the
-- next one is due (null = none, 0 = more are due now). Safe to run from every worker at once. A job row that somebody else
-- holds stays for the next round; an entry whose job is no longer scheduled for that time (cancelled, rescheduled, deleted)
-- is dropped. Reads scheduled_pkey. Locks: entries by time, then jobs by id, all SKIP LOCKED.
create or replace function dtsched.promote(p_limit integer default 1000)
returns table (promoted integer, next_seconds double precision)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := dtsched.now();
    v_tids tid[];
    v_jobs bigint[];
    v_locked bigint[];
    v_held bigint[];
    v_promoted integer := 0;
begin
    with due as materialized (
        select entry.ctid as tid, entry.job_id
        from dtsched.scheduled entry
        where entry.run_at <= v_now
        order by entry.run_at, entry.job_id
        limit p_limit
        for update skip locked
    )
    select coalesce(array_agg(due.tid), '{}'), coalesce(array_agg(due.job_id), '{}')
    into v_tids, v_jobs
    from due;
    if v_tids <> '{}' then
        v_locked := array(
            select job.id from dtsched.jobs job where job.id = any (v_jobs) order by job.id for no key update skip locked);
        v_held := array(
            select job.id from dtsched.jobs job where job.id = any (v_jobs) except select unnest(v_locked));
        with gone as (
            delete from dtsched.scheduled entry
            where entry.ctid = any (array(select due.tid from unnest(v_tids, v_jobs) as due (tid, job_id)
                                          where due.job_id <> all (v_held)))
            returning entry.run_at, entry.job_id
        ),
        moved as (
            update dtsched.jobs job
            set state = 'ready'
            from (select gone.run_at, gone.job_id from gone order by gone.job_id) due
            where job.id = due.job_id and job.state = 'scheduled' and job.run_at = due.run_at
            returning job.id, job.queue, job.priority
        )
        insert into dtsched.ready (queue, priority, job_id)
        select moved.queue, moved.priority, moved.id
        from moved;
        get diagnostics v_promoted = row_count;
    end if;
    return query
    select v_promoted, (
        select greatest(0, extract(epoch from entry.run_at - dtsched.now()))::double precision
        from dtsched.scheduled entry
        where entry.run_at > v_now or cardinality(v_jobs) = p_limit
        order by entry.run_at, entry.job_id
        limit 1);
end $$;

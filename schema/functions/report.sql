-- What a worker tells of jobs while it runs them, and the leases that were accepted, as finish() does: p_reports is
-- [{"lease": 1, "progress": {"percent": 40?, "message": "40 of 100"?}?, "lines": [{"message": "text", "level": "info"?,
-- "logger": "shop"?, "ago": 0.2?, "seq": 1?}]?}], one report a lease. A lease that is gone, or whose job's row somebody
-- holds, is left out and nothing happens; in the second case it may be reported again.
--
-- progress takes the place of what was there. lines are added to those of the job: after 9,999 of them a last one says that
-- what follows is dropped. `ago` is how many seconds ago a line was written, by the worker's own watch: the database's clock
-- makes a time of it. `seq` counts the lines of the attempt: what is sent twice, because the answer was lost, is stored
-- once. Text is cut to 500 characters (progress), 4,000 (lines) and 200 (loggers).
--
-- The end of a lease and the change of its job's row commit together, and the row is held here: a lease that is seen while
-- it is held is that of the running attempt until this commits, so nothing is told of a job that has ended, and lines of
-- one job are numbered one call after the other. Raises JQ001 for what is no report.
-- Reads leases_pkey, jobs_pkey, job_logs_pkey. Locks: jobs by id, SKIP LOCKED.
create or replace function dtsched.report(p_worker uuid, p_reports jsonb) returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_problem text := dtsched.report_problem(p_reports);
    v_leases bigint[];
    v_locked bigint[];
    v_now timestamptz;
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    v_leases := array(select (report ->> 'lease')::bigint from jsonb_array_elements(p_reports) report);
    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (array(
                select lease.job_id
                from dtsched.leases lease
                where lease.id = any (v_leases) and (lease.worker_id = p_worker) is true))
            and job.state = 'running'
        order by job.id
        for no key update skip locked);
    v_now := dtsched.now();
    return query
    with told as materialized (
        select (report ->> 'lease')::bigint as lease_id, nullif(report -> 'progress', 'null') as progress,
            nullif(report -> 'lines', 'null') as lines
        from jsonb_array_elements(p_reports) report
    ),
    held as materialized (  -- a new statement: the leases as they are now that their jobs are held
        select told.lease_id, lease.job_id, told.progress, told.lines
        from told
        cross join lateral (  -- the limit keeps the planner from reading all reports again for each lease
            select lease.job_id
            from dtsched.leases lease
            where lease.id = told.lease_id and (lease.worker_id = p_worker) is true and lease.job_id = any (v_locked)
            limit 1) lease
    ),
    progressed as (
        update dtsched.jobs job
        set progress = jsonb_build_object(
                'percent', trim_scale(round((held.progress ->> 'percent')::numeric, 1)),
                'message', left(held.progress ->> 'message', 500),
                'at', to_char(v_now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        from held
        where job.id = held.job_id and held.progress is not null
    ),
    numbered as (
        select held.job_id, held.lease_id, job.attempt, given.line,
            coalesce(last.line, 0) + row_number() over (partition by held.job_id order by given.n) as number
        from held
        join dtsched.jobs job on job.id = held.job_id
        left join lateral (
            select stored.line, stored.lease_id, stored.seq
            from dtsched.job_logs stored
            where stored.job_id = held.job_id
            order by stored.line desc
            limit 1) last on true
        cross join lateral jsonb_array_elements(held.lines) with ordinality as given (line, n)
        where (last.lease_id = held.lease_id and (given.line ->> 'seq')::integer <= last.seq) is not true
    ),
    logged as (
        insert into dtsched.job_logs (job_id, line, attempt, lease_id, seq, at, level, logger, message)
        select numbered.job_id, numbered.number, numbered.attempt, numbered.lease_id, (numbered.line ->> 'seq')::integer,
            v_now - make_interval(secs => coalesce((numbered.line ->> 'ago')::double precision, 0)),
            case when numbered.number = 10000 then 'warning' else coalesce(numbered.line ->> 'level', 'info') end,
            case when numbered.number = 10000 then 'dtsched' else left(numbered.line ->> 'logger', 200) end,
            case
                when numbered.number = 10000 then 'the job has logged 10,000 lines: what follows is dropped'
                when char_length(numbered.line ->> 'message') > 4000 then left(numbered.line ->> 'message', 3999) || '…'
                else numbered.line ->> 'message'
            end
        from numbered
        where numbered.number <= 10000
    )
    select held.lease_id from held;
end $$;

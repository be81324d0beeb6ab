-- The body of report(), also for leases with a secret if p_secrets says that the caller has seen it.
-- Reads leases_pkey, jobs_pkey, job_logs_pkey. Locks: jobs by id, SKIP LOCKED.
create or replace function dtsched.tell(p_worker uuid, p_reports jsonb, p_secrets boolean) returns setof bigint
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
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
                where lease.id = any (v_leases) and (lease.worker_id = p_worker) is true
                    and (p_secrets or lease.secret is null)))
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
                and (p_secrets or lease.secret is null)
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

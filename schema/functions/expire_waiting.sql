-- The half of expire() for jobs that wait: those whose deadline has passed fail, with an error of type deadline. An entry of
-- deadlines stays while its job runs, because it may come back; that of a job that has ended is dropped. What somebody else
-- holds is left to the next round. It must not hide what lies behind, nor must jobs that run: these are passed over, and
-- where the others leave less than half of p_limit to be done, this looks at as many again, for a second at most.
--
-- Like promote() it keeps a mark, up to which the session has dealt with all it saw, and starts from the beginning every few
-- seconds (dtsched.sweep), for what was committed late.
-- Reads deadlines_pkey. Locks: entries by deadline SKIP LOCKED, lock_waiting's, jobs by id SKIP LOCKED, then
-- end_unsuccessful's; it waits for what hangs on a job for a tenth of a second, and then leaves that job alone.
create or replace function dtsched.expire_waiting(p_limit integer)
returns setof bigint
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set lock_timeout = '100ms'
as $$
declare
    v_text text := current_setting('dtsched.failed_late', true);  -- swept at;mark (microseconds)
    v_now timestamptz := dtsched.now();
    v_begun timestamptz := clock_timestamp();
    v_seconds double precision := extract(epoch from v_begun);
    v_swept double precision := v_seconds;
    v_mark timestamptz := '-infinity';
    v_error constant text := 'deadline: it had not ended by its deadline';
    v_tids tid[];
    v_jobs bigint[];
    v_waiting bigint[];
    v_late bigint[];
    v_failed bigint[] := '{}';
    v_over bigint[];
    v_job bigint;
    v_last timestamptz;
    v_last_id bigint := 9223372036854775807;
    v_full boolean;
    v_left timestamptz;
begin
    if v_text ~ '^[0-9.]+;-?[0-9]+$' then
        v_swept := split_part(v_text, ';', 1)::double precision;
        v_mark := 'epoch'::timestamptz + split_part(v_text, ';', 2)::bigint * interval '1 microsecond';
        if v_mark > v_now or v_swept > v_seconds
            or v_seconds - v_swept >= coalesce(nullif(current_setting('dtsched.sweep', true), ''), '5')::double precision then
            v_mark := '-infinity';
            v_swept := v_seconds;
        end if;
    end if;

    v_last := v_mark;
    loop
        with due as materialized (
            select entry.ctid as tid, entry.job_id, entry.deadline
            from dtsched.deadlines entry
            where (entry.deadline, entry.job_id) > (v_last, v_last_id) and entry.deadline <= v_now
                and (select job.state = 'running' and job.deadline <= v_now
                     from dtsched.jobs job
                     where job.id = entry.job_id) is not true
            order by entry.deadline, entry.job_id
            limit p_limit - cardinality(v_failed)
            for update skip locked
        )
        select array_agg(due.tid), array_agg(due.job_id), count(*) = p_limit - cardinality(v_failed), max(due.deadline),
            (array_agg(due.job_id order by due.deadline desc, due.job_id desc))[1]
        into v_tids, v_jobs, v_full, v_last, v_last_id
        from due;
        exit when v_jobs is null;
        v_waiting := dtsched.lock_waiting(v_jobs);
        v_waiting := array(  -- one that has got another deadline has another entry too
            select job.id from dtsched.jobs job where job.id = any (v_waiting) and job.deadline <= v_now order by job.id);
        -- retry() may be at work on one that has ended: it would need its entry
        v_over := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_jobs)
                and (job.state in ('completed', 'failed', 'cancelled') or (job.deadline > v_now) is not false)
            order by job.id
            for share skip locked);
        v_over := v_over || array(
            select id from unnest(v_jobs) id where not exists (select from dtsched.jobs job where job.id = id));
        v_late := '{}';
        begin
            perform dtsched.end_unsuccessful(v_waiting, 'failed', v_error);
            v_late := v_waiting;
        exception
            when lock_not_available then
                foreach v_job in array v_waiting loop
                    begin
                        perform dtsched.end_unsuccessful(array[v_job], 'failed', v_error);
                        v_late := v_late || v_job;
                    exception
                        when lock_not_available then null;
                    end;
                end loop;
        end;
        delete from dtsched.deadlines entry
        where entry.ctid = any (array(select due.tid from unnest(v_tids, v_jobs) as due (tid, job_id)
                                      where due.job_id = any (v_late || v_over)));
        v_failed := v_failed || v_late;
        exit when not v_full or 2 * cardinality(v_failed) >= p_limit or clock_timestamp() > v_begun + interval '1 s';
    end loop;
    if not v_full then
        v_last := v_now;
    end if;

    -- the mark stays below what is still there
    select min(entry.deadline) - interval '1 microsecond'
    into v_left
    from (select entry.deadline
          from dtsched.deadlines entry
          where entry.deadline > v_mark and entry.deadline <= v_last
          order by entry.deadline
          limit 1) entry;
    perform set_config('dtsched.failed_late',
                       v_swept || ';' || (extract(epoch from coalesce(v_left, v_last)) * 1000000)::bigint, false);
    return query select unnest(v_failed);
end $$;

-- The half of expire() for attempts: takes away the leases of living workers whose deadline has passed by a grace, the larger
-- of 5 s and a fifth of the worker's lease, and ends those attempts as errors of type timeout, as finish() would. The worker
-- is told (channel dtsched_cancel, its id), and a late outcome is refused: the lease is gone. What a lost worker holds is left
-- to rescue(), a lease that somebody is finishing to him, and a job whose row or limit key somebody holds to the next round.
-- None of these must hide what lies behind: where they leave less than half of p_limit to take away, it looks at as many
-- again, for a second at most.
--
-- Ended attempts leave dead index at the head when xmin is pinned, so this keeps a mark, up to which the session has dealt
-- with all it saw. A lease is granted with a deadline ahead, so only a claim that commits late can put one below the mark:
-- once a minute it starts from the beginning.
-- Reads leases_deadline_idx. Locks: leases by id SKIP LOCKED, limits sorted, lock_jobs's, then finish_others's; it waits for what hangs on a
-- job that fails by this for a tenth of a second, and then leaves that job alone; for limits it waits as long, so it may take
-- leases and limits after jobs when it looks again.
create or replace function dtsched.expire_leases(p_limit integer)
returns table (job_id bigint, lease_id bigint, state text)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set lock_timeout = '100ms'
as $$
#variable_conflict use_column
declare
    v_text text := current_setting('dtsched.expired', true);  -- swept at;mark (microseconds)
    v_now timestamptz := dtsched.now();
    v_until timestamptz := v_now - interval '5 s';
    v_begun timestamptz := clock_timestamp();
    v_seconds double precision := extract(epoch from v_begun);
    v_swept double precision := v_seconds;
    v_mark timestamptz := '-infinity';
    v_over bigint[];
    v_taken bigint[] := '{}';
    v_last timestamptz;
    v_last_id bigint := 9223372036854775807;
    v_full boolean;
    v_left timestamptz;
    v_held bigint[];
    v_busy text[];
    v_lease record;
begin
    if v_text ~ '^[0-9.]+;-?[0-9]+$' then
        v_swept := split_part(v_text, ';', 1)::double precision;
        v_mark := 'epoch'::timestamptz + split_part(v_text, ';', 2)::bigint * interval '1 microsecond';
        if v_mark > v_until or v_swept > v_seconds or v_seconds - v_swept >= 60 then
            v_mark := '-infinity';
            v_swept := v_seconds;
        end if;
    end if;

    v_last := v_mark;
    loop
        with due as materialized (
            select lease.id, lease.deadline, lease.worker_id
            from dtsched.leases lease
            where (lease.deadline, lease.id) > (v_last, v_last_id) and lease.deadline < v_until
            order by lease.deadline, lease.id
            limit p_limit - cardinality(v_taken)
        )
        select
            array_agg(due.id) filter (where worker.id is not null and due.deadline + greatest(interval '5 s', worker.lease / 5) < v_now),
            count(*) = p_limit - cardinality(v_taken), max(due.deadline),
            (array_agg(due.id order by due.deadline desc, due.id desc))[1]
        into v_over, v_full, v_last, v_last_id
        from due
        left join dtsched.workers worker on worker.id = due.worker_id and worker.lost_at is null and worker.expires_at > v_now;

        if v_over is not null then
            v_over := array(select lease.id from dtsched.leases lease where lease.id = any (v_over)
                            order by lease.id for update skip locked);
            v_busy := dtsched.try_limits(array(select distinct lease.limit_key from dtsched.leases lease
                                               where lease.id = any (v_over) and lease.limit_key is not null));
            v_over := array(select lease.id from dtsched.leases lease
                            where lease.id = any (v_over) and (lease.limit_key = any (v_busy)) is not true);
            v_held := dtsched.lock_jobs(array(select lease.job_id from dtsched.leases lease where lease.id = any (v_over)));
            for v_lease in
                select lease.id, lease.job_id, lease.worker_id,
                    jsonb_build_array(jsonb_build_object('lease', lease.id, 'outcome', 'retry', 'error', jsonb_build_object(
                        'type', 'timeout',
                        'message', format('still running after %s s, its timeout; its worker did not end it, and it was taken away',
                                          trim_scale(extract(epoch from lease.deadline - job.started_at)))))) as others
                from dtsched.leases lease
                join dtsched.jobs job on job.id = lease.job_id
                where lease.id = any (v_over) and lease.job_id <> all (v_held)
                order by lease.id
            loop
                begin
                    update dtsched.leases lease set secret = null where lease.id = v_lease.id and lease.secret is not null;
                    perform dtsched.finish_others(v_lease.worker_id, v_lease.others);
                    v_taken := v_taken || v_lease.id;
                    if dtsched.may_notify() then
                        perform pg_notify('dtsched_cancel', v_lease.worker_id::text);
                    end if;
                    return query select job.id, v_lease.id, job.state from dtsched.jobs job where job.id = v_lease.job_id;
                exception
                    when lock_not_available then null;
                end;
            end loop;
        end if;
        exit when not v_full or 2 * cardinality(v_taken) >= p_limit or clock_timestamp() > v_begun + interval '1 s';
    end loop;
    if not v_full then
        v_last := v_until - interval '1 microsecond';
    end if;

    -- the mark stays below what is still there
    select min(lease.deadline) - interval '1 microsecond'
    into v_left
    from (select lease.deadline from dtsched.leases lease
          where lease.deadline > v_mark and lease.deadline <= v_last and lease.id <> all (v_taken)
          order by lease.deadline
          limit 1) lease;
    perform set_config('dtsched.expired',
                       v_swept || ';' || (extract(epoch from coalesce(v_left, v_last)) * 1000000)::bigint, false);
end $$;

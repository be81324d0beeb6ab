-- The completed half of finish(). Results over 300 bytes go to results: in jobs they would spoil its HOT updates.
create or replace function dtsched.finish_completed(p_worker uuid, p_leases bigint[], p_results jsonb)
returns setof bigint
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off  -- leases and jobs in the order of their ids
set enable_nestloop = off    -- results are hashed: to look up each row by itself costs a fifth more, to compare all with all far more
set enable_mergejoin = off
set hash_mem_multiplier = 1000  -- a hash that does not fit is read in parts, and rows would not be locked in the order of their ids
as $$
declare
    v_leases bigint[];
    v_jobs bigint[];
    v_results jsonb[];
    v_large boolean;
    v_stopped bigint[];
    v_keys text[];
    v_limit_keys text[];
    v_now timestamptz;
    v_minute timestamptz;
begin
    if p_results is null then
        with gone as (
            delete from dtsched.leases lease
            where lease.id = any (p_leases) and (lease.worker_id = p_worker) is true and lease.secret is null
            returning lease.id, lease.job_id, lease.limit_key, lease.cancel_requested_at
        )
        select array_agg(gone.id order by gone.job_id), array_agg(gone.job_id order by gone.job_id),
            array_agg(gone.job_id) filter (where gone.cancel_requested_at is not null),
            array_agg(gone.limit_key) filter (where gone.limit_key is not null)
        into v_leases, v_jobs, v_stopped, v_limit_keys
        from gone;
    else
        if jsonb_array_length(p_results) <> cardinality(p_leases) then
            raise exception 'finish() was given % leases and % results', cardinality(p_leases), jsonb_array_length(p_results)
                using errcode = 'JQ001';
        end if;
        with gone as (
            delete from dtsched.leases lease
            using (
                select done.lease_id, nullif(done.result, 'null') as result
                from rows from (unnest(p_leases), jsonb_array_elements(p_results)) as done (lease_id, result)
                order by done.lease_id
            ) done
            where lease.id = done.lease_id and lease.id = any (p_leases) and (lease.worker_id = p_worker) is true and lease.secret is null
            returning lease.id, lease.job_id, lease.limit_key, lease.cancel_requested_at, done.result
        )
        select array_agg(gone.id order by gone.job_id), array_agg(gone.job_id order by gone.job_id),
            array_agg(gone.result order by gone.job_id), bool_or(pg_column_size(gone.result) > 300),
            array_agg(gone.job_id) filter (where gone.cancel_requested_at is not null),
            array_agg(gone.limit_key) filter (where gone.limit_key is not null)
        into v_leases, v_jobs, v_results, v_large, v_stopped, v_limit_keys
        from gone;
    end if;
    if v_leases is null then
        return;
    end if;
    if v_limit_keys is not null then
        perform dtsched.lock_limits(v_limit_keys);
    end if;
    perform dtsched.free_room(v_jobs);

    if v_stopped is not null then  -- two updates of jobs: one after the other would not be in id order
        perform from dtsched.jobs job where job.id = any (v_jobs) order by job.id for no key update;
    end if;
    v_now := dtsched.now();
    v_minute := date_trunc('minute', v_now);
    if v_results is null then
        with ended as (
            update dtsched.jobs job
            set state = 'completed',
                finished_at = v_now,
                error = null
            where job.id = any (v_jobs) and job.state = 'running'
                and job.id between v_jobs[1] and v_jobs[cardinality(v_jobs)]  -- partitions beside them are not even opened
                and (v_stopped is null or job.id <> all (v_stopped))
            returning job.key, job.queue, job.task,
                date_part('epoch', job.started_at - coalesce(job.run_at, job.created_at)) as wait_seconds,
                date_part('epoch', v_now - job.started_at) as run_seconds
        ),
        tallied as (
            insert into dtsched.tallies (minute, queue, task, event, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
            select v_minute, ended.queue, ended.task, 'complete', dtsched.bucket(ended.wait_seconds),
                dtsched.bucket(ended.run_seconds), count(*), coalesce(sum(ended.wait_seconds), 0),
                coalesce(sum(ended.run_seconds), 0)
            from ended
            group by ended.queue, ended.task, 5, 6
        )
        select array_agg(ended.key::text) filter (where ended.key is not null)
        into v_keys
        from ended;
    else
        if v_large then
            insert into dtsched.results (job_id, result)
            select done.job_id, done.result
            from unnest(v_jobs, v_results) as done (job_id, result)
            where pg_column_size(done.result) > 300 and (v_stopped is null or done.job_id <> all (v_stopped))
            order by done.job_id
            on conflict on constraint results_pkey do update set result = excluded.result;
        end if;
        with ended as (
            update dtsched.jobs job
            set state = 'completed',
                finished_at = v_now,
                error = null,
                result = done.result
            from (select given.job_id, case when pg_column_size(given.result) <= 300 then given.result end as result
                  from unnest(v_jobs, v_results) as given (job_id, result)) done
            where job.id = done.job_id and job.id = any (v_jobs) and job.state = 'running'
                and job.id between v_jobs[1] and v_jobs[cardinality(v_jobs)]
                and (v_stopped is null or job.id <> all (v_stopped))
            returning job.key, job.queue, job.task,
                date_part('epoch', job.started_at - coalesce(job.run_at, job.created_at)) as wait_seconds,
                date_part('epoch', v_now - job.started_at) as run_seconds
        ),
        tallied as (
            insert into dtsched.tallies (minute, queue, task, event, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
            select v_minute, ended.queue, ended.task, 'complete', dtsched.bucket(ended.wait_seconds),
                dtsched.bucket(ended.run_seconds), count(*), coalesce(sum(ended.wait_seconds), 0),
                coalesce(sum(ended.run_seconds), 0)
            from ended
            group by ended.queue, ended.task, 5, 6
        )
        select array_agg(ended.key::text) filter (where ended.key is not null)
        into v_keys
        from ended;
    end if;
    if v_keys is not null then
        perform dtsched.free_keys(v_keys, v_jobs);
    end if;
    if v_stopped is not null then
        perform dtsched.end_unsuccessful(v_stopped, 'cancelled', 'cancelled while it ran');
    end if;
    if v_limit_keys is not null then
        perform dtsched.free_seats(v_limit_keys);
    end if;
    perform dtsched.announce_ended(v_jobs);
    perform dtsched.tell_feed(v_jobs, 'completed', 'completed');
    perform dtsched.release_children(v_jobs);
    return query select unnest(v_leases);
end $$;

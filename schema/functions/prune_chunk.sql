-- Deletes what is past its retention of 10,000 ids, and drops the results that are past theirs, at most p_limit of both, and
-- notes when the next of them can be: called by prune() alone.
--
-- due_at is never later than a minute after the first of these jobs is past its retention, whatever becomes of them:
--   a completed job stays completed, and is due at its time;
--   any other may still complete, fail or be retried, and may not go before the shortest retention of its queue has passed
--     from now on (edit(), which may move it to another queue, has the chunk looked at again);
--   a job that cannot be seen yet ends later than now; once a chunk has been closed for ten minutes there are hardly any.
-- Reads jobs_pkey. Locks: jobs by id and keys, SKIP LOCKED.
create or replace function dtsched.prune_chunk(p_chunk bigint, p_limit bigint, out pruned bigint, out stripped bigint)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    c_size constant bigint := 10000;
    v_now timestamptz := dtsched.now();
    v_closed boolean := (select last_value from dtsched.job_id_seq) >= (p_chunk + 1) * c_size;
    v_known bigint;
    v_first timestamptz;
    v_expired bigint[] := '{}';
    v_strip bigint[] := '{}';
    v_locked bigint[];
    v_kept bigint[];  -- somebody is about to take their keys
    v_due timestamptz;
    v_shortest double precision;
begin
    v_shortest := least(
        (select min(least(kept.completed, kept.failed, kept.cancelled, kept.results)) from dtsched.retention() kept),
        (select min(dtsched.retention_seconds(task.settings, 'result_ttl')) from dtsched.tasks task));
    select count(*), min(job.finished_at)
    into v_known, v_first
    from dtsched.jobs job
    where job.id >= p_chunk * c_size and job.id < (p_chunk + 1) * c_size;
    if dtsched.expiry(v_first, v_shortest) <= v_now then  -- else none can be past its own: a tenth of the time
        with rule as materialized (
            select kept.queue, kept.completed, kept.failed, kept.cancelled, kept.results,
                least(kept.completed, kept.failed, kept.cancelled, kept.results) as shortest
            from dtsched.retention() kept
        ),
        of_task as materialized (
            select task.name::text, dtsched.retention_seconds(task.settings, 'result_ttl') as results
            from dtsched.tasks task
            where dtsched.retention_seconds(task.settings, 'result_ttl') is not null
        ),
        ruled as (
            select job.id, job.state, job.finished_at,
                case job.state when 'completed' then coalesce(own.completed, fallback.completed)
                    when 'failed' then coalesce(own.failed, fallback.failed)
                    when 'cancelled' then coalesce(own.cancelled, fallback.cancelled) end as kept,
                least(coalesce(own.shortest, fallback.shortest), of_task.results) as shortest,
                case when job.state = 'completed' and coalesce(of_task.results, own.results, fallback.results) < 'Infinity'
                    and (job.result is not null
                         or exists (select from dtsched.results stored where stored.job_id = job.id))
                    then coalesce(of_task.results, own.results, fallback.results) end as result_kept
            from dtsched.jobs job
            left join of_task on of_task.name = job.task::text
            left join rule own on own.queue = job.queue::text
            cross join (select * from rule where rule.queue is null) fallback
            where job.id >= p_chunk * c_size and job.id < (p_chunk + 1) * c_size
        ),
        judged as materialized (
            select ruled.id, ruled.state, ruled.shortest,
                dtsched.expiry(ruled.finished_at, ruled.kept) as gone_at,
                dtsched.expiry(ruled.finished_at, ruled.result_kept) as bare_at
            from ruled
        )
        select coalesce(array_agg(judged.id order by judged.id) filter (where judged.gone_at <= v_now), '{}'),
            coalesce(array_agg(judged.id order by judged.id)
                     filter (where judged.gone_at > v_now and judged.bare_at <= v_now), '{}'),
            min(case when judged.state = 'completed'
                then least(judged.gone_at, case when judged.bare_at > v_now then judged.bare_at end)
                else least(judged.gone_at, dtsched.expiry(v_now, judged.shortest)) end)
                filter (where (judged.gone_at <= v_now) is not true)
        into v_expired, v_strip, v_due
        from judged;
    elsif v_known > 0 then
        v_due := dtsched.expiry(coalesce(v_first, v_now), v_shortest);
    end if;

    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (v_expired[1:p_limit])
            -- not if it was retried since, even if it has ended once more
            and job.state in ('completed', 'failed', 'cancelled') and job.finished_at <= v_now
        order by job.id
        for update skip locked);
    v_kept := dtsched.free_keys_of_deleted(v_locked);
    v_locked := array(select id from unnest(v_locked) id where id <> all (v_kept));
    pruned := cardinality(v_locked);
    if pruned > 0 then
        perform dtsched.forget(v_locked);
    end if;
    if pruned < cardinality(v_expired) then
        v_due := v_now;
    end if;

    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (v_strip[1:p_limit - pruned]) and job.state = 'completed'
            and dtsched.result_expiry(job.task, job.queue, job.finished_at) <= v_now
        order by job.id
        for no key update skip locked);
    stripped := cardinality(v_locked);
    if stripped > 0 then
        delete from dtsched.results stored where stored.job_id = any (v_locked);
        update dtsched.jobs job
        set result = null,
            result_expired_at = dtsched.result_expiry(job.task, job.queue, job.finished_at)
        where job.id = any (v_locked);
    end if;
    if stripped < cardinality(v_strip) then
        v_due := v_now;
    end if;

    update dtsched.prunable looked_at
    set due_at = case
            -- the limit was reached: on with it
            when pruned + stripped >= p_limit and v_due = v_now then '-infinity'
            else greatest(v_now + interval '1 minute', least(v_due, case
                when looked_at.closed_at < v_now - interval '10 minutes' then v_now + interval '1 day'
                else dtsched.expiry(v_now, v_shortest) end)) end,
        closed_at = coalesce(looked_at.closed_at, case when v_closed then v_now end)
    where looked_at.chunk = p_chunk;
    if v_known = 0 then
        delete from dtsched.prunable looked_at
        where looked_at.chunk = p_chunk and looked_at.closed_at < v_now - interval '30 days';
    end if;
end $$;

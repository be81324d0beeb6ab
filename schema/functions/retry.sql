-- Has failed and cancelled jobs run again, with all their attempts before them, and says for each what came of it: retried,
-- unfinished (it has not ended), finished (it has completed), key_held (an unfinished job has its key by now), parents (a job
-- it depends on failed or was cancelled, and is not among these), busy (somebody holds its row, or that of a parent: try
-- again), missing. A job whose run_at still lies ahead is scheduled again; one whose parents are unfinished waits for them
-- again; a parent that has been deleted does not count.
--
-- Waits for whoever has taken or freed one of their keys and has not committed yet, and for nobody else. Locks: keys sorted, with nothing else
-- in hand; then jobs by id, parents by id, SKIP LOCKED.
create or replace function dtsched.retry(p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_keys text[];
    v_keyed bigint[];
    v_key_held bigint[] := '{}';
    v_locked bigint[];
    v_parents bigint[];
    v_refused bigint[];
    v_retried bigint[];
begin
    -- their keys first, and not yet held by an unfinished job: what ended keeps its key in its row
    select array_agg(job.key::text order by job.id), array_agg(job.id order by job.id)
    into v_keys, v_keyed
    from dtsched.jobs job
    where job.id = any (p_ids) and job.state in ('failed', 'cancelled') and job.key is not null;
    if v_keyed is not null then
        select coalesce(array_agg(wanted.id) filter (where wanted.id <> wanted.holder), '{}')
        into v_key_held
        from unnest(v_keyed, dtsched.take_keys(v_keys, v_keyed)) as wanted (id, holder);
    end if;

    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_ids) and job.id <> all (v_key_held) and job.state in ('failed', 'cancelled')
            -- one that has failed only since its key was asked for would run without it
            and (job.key is null or job.id = any (v_keyed))
        order by job.id
        for update skip locked);
    v_parents := array(
        select parent.id
        from dtsched.jobs parent
        where parent.id = any (array(select unnest(job.depends_on) from dtsched.jobs job where job.id = any (v_locked)))
        order by parent.id
        for share skip locked);
    v_retried := v_locked;
    loop  -- one that is refused may be the parent of another
        v_refused := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_retried)
                and exists (
                    select
                    from unnest(job.depends_on) edge (parent_id)
                    join dtsched.jobs parent on parent.id = edge.parent_id
                    where parent.id <> all (v_parents)
                        or parent.state in ('failed', 'cancelled') and parent.id <> all (v_retried)));
        exit when v_refused = '{}';
        v_retried := array(select id from unnest(v_retried) id where id <> all (v_refused));
    end loop;

    perform dtsched.tally_revived(v_retried);
    delete from dtsched.unsuccessful ended
    where ended.state in ('failed', 'cancelled') and ended.job_id = any (v_retried);
    with edge as materialized (
        select distinct job.id as child_id, parent.id as parent_id, job.queue
        from dtsched.jobs job
        cross join lateral unnest(job.depends_on) named (id)
        join dtsched.jobs parent on parent.id = named.id
        where job.id = any (v_retried)
            and (parent.state not in ('completed', 'failed', 'cancelled') or parent.id = any (v_retried))
    ),
    linked as (
        insert into dtsched.dependencies (parent_id, child_id) select edge.parent_id, edge.child_id from edge
        on conflict do nothing  -- a child that was cancelled has left those to parents that have not ended
    ),
    waits as (
        insert into dtsched.blocked (job_id, waiting, queue)
        select edge.child_id, count(*), edge.queue from edge group by edge.child_id, edge.queue
    ),
    changed as (
        update dtsched.jobs job
        set state = case
                when job.id in (select edge.child_id from edge) then 'blocked'
                when job.run_at > dtsched.now() then 'scheduled'
                else 'ready'
            end,
            attempt = 0,
            crash_count = 0,
            worker_id = null,
            error = null,
            progress = null,
            run_at = greatest(job.run_at, dtsched.now()),  -- it has not waited since it was submitted
            started_at = null,
            finished_at = null
        where job.id = any (v_retried)
        returning job.id, job.queue, job.priority, job.state, job.run_at
    ),
    later as (
        insert into dtsched.scheduled (run_at, job_id, queue)
        select changed.run_at, changed.id, changed.queue from changed where changed.state = 'scheduled'
        on conflict do nothing  -- an entry from before it was cancelled, which fits again
    )
    insert into dtsched.ready (queue, priority, job_id)
    select changed.queue, changed.priority, changed.id from changed where changed.state = 'ready'
    on conflict do nothing;  -- an entry of this very transaction, which fits again

    if v_keyed is not null then
        delete from dtsched.keys taken
        where taken.key = any (v_keys) and taken.job_id = any (v_keyed) and taken.job_id <> all (v_retried)
            -- somebody else may have retried it while we waited for its key
            and not exists (
                select from dtsched.jobs job
                where job.id = taken.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running'));
    end if;
    return query
    select asked.id, case
        when asked.id = any (v_retried) then 'retried'
        when asked.id = any (v_key_held) then 'key_held'
        when job.id is null then 'missing'
        when job.state = 'completed' then 'finished'
        when job.state not in ('failed', 'cancelled') then 'unfinished'
        when asked.id <> all (v_locked) then 'busy'
        when exists (
            select from unnest(job.depends_on) edge (parent_id)
            join dtsched.jobs parent on parent.id = edge.parent_id
            where parent.state in ('failed', 'cancelled') and parent.id <> all (v_retried)) then 'parents'
        else 'busy' end
    from unnest(p_ids) asked (id)
    left join dtsched.jobs job on job.id = asked.id;
end $$;

create or replace function dtsched.retry(p_id bigint) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$ select outcome from dtsched.retry(array[p_id]) $$;

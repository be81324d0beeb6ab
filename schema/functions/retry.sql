-- Has failed and cancelled jobs run again, with all their attempts before them, and says for each what came of it: retried,
-- unfinished (it has not ended), finished (it has completed), key_held (another job has its key by now), parents (a job
-- it depends on failed or was cancelled, and is not among these), deadline (its deadline has passed), busy (somebody holds its
-- row, or that of a job that is needed for it: try again), missing. A job whose run_at still lies ahead is scheduled again; one whose parents are
-- unfinished waits for them again; a parent that has been deleted or was skipped does not count, nor one that may fail (run).
--
-- Those that were cancelled because one of these did not complete come back with it, and theirs (see cancelled_by), but not
-- what was cancelled by itself or was skipped. One of them stays cancelled while another parent that it needs has failed or
-- was cancelled (to retry that one brings it back), and when its key is held by now. If one of them can not be decided on,
-- because somebody holds its row or a parent's, then what would bring it back is busy: it is never left behind. What its steps
-- have returned stays remembered (see reopen_waits).
--
-- Waits for whoever has taken or freed one of their keys and has not committed yet, and for nobody else. Locks: keys sorted, with nothing else
-- in hand; then jobs by id, parents by id, SKIP LOCKED.
create or replace function dtsched.retry(p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = off  -- it takes 10,000 numbers of an array for 10; what is looked up row by row is lateral
as $$
#variable_conflict use_column
declare
    v_family bigint[] := dtsched.revived_with(p_ids);
    v_keys text[];
    v_keyed bigint[];
    v_untils timestamptz[];
    v_kept_keys text[];
    v_key_held bigint[] := '{}';
    v_locked bigint[];
    v_children bigint[];  -- the edges of v_locked
    v_parents bigint[];
    v_policies text[];
    v_shared bigint[];
    v_busy bigint[];
    v_retried bigint[];
begin
    perform dtsched.require_read_committed();
    -- their keys first, and not yet held by an unfinished job: what ended keeps its key in its row
    select array_agg(job.key::text order by job.id), array_agg(job.id order by job.id),
        array_agg(job.key_until order by job.id)
    into v_keys, v_keyed, v_untils
    from dtsched.jobs job
    where job.id = any (v_family) and job.state in ('failed', 'cancelled') and job.key is not null;
    if v_keyed is not null then
        v_kept_keys := array(
            select taken.key
            from dtsched.keys taken
            where taken.key = any (v_keys) and taken.job_id = any (v_keyed) and taken.until > dtsched.now());
        select coalesce(array_agg(wanted.id) filter (where wanted.id <> wanted.holder), '{}')
        into v_key_held
        from unnest(v_keyed, dtsched.take_keys(v_keys, v_keyed, v_untils)) as wanted (id, holder);
        -- while we waited, more may have been cancelled because of these: their keys are not asked for any more
        v_family := dtsched.revived_with(p_ids);
        v_key_held := v_key_held || array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_family) and job.key = any (v_keys)
                and job.id not in (select id from unnest(v_keyed) id));
    end if;

    v_locked := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (array(select id from unnest(v_family) id except select id from unnest(v_key_held) id))
            and job.state in ('failed', 'cancelled')
            -- one that has failed only since its key was asked for would run without it
            and (job.key is null or job.id in (select id from unnest(v_keyed) id))
            and (job.deadline is null or job.deadline > dtsched.now())
        order by job.id
        for update skip locked);
    select coalesce(array_agg(edge.child_id), '{}'), coalesce(array_agg(edge.parent_id), '{}'), array_agg(edge.on_failure)
    into v_children, v_parents, v_policies
    from dtsched.edges_of(v_locked) edge;
    v_shared := array(
        select parent.id
        from dtsched.jobs parent
        where parent.id = any (array(select distinct id from unnest(v_parents) id))
        order by parent.id
        for share skip locked);

    -- those of the family that cannot be decided on: somebody holds them or a parent, or they were cancelled only just now
    v_busy := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (dtsched.revived_with(v_locked)) and job.state in ('failed', 'cancelled')
            and job.id not in (select id from unnest(v_locked || v_key_held) id)
            and (job.deadline is null or job.deadline > dtsched.now())  -- else it stays as it is
        union
        select edge.child_id
        from unnest(v_children, v_parents) as edge (child_id, parent_id)
        where edge.parent_id not in (select id from unnest(v_shared) id)
            and exists (select from dtsched.jobs parent where parent.id = edge.parent_id offset 0));
    if v_busy <> '{}' then
        -- and what would bring them back, up to those that were asked for
        v_busy := array(
            with recursive busy (id) as (
                select id from unnest(v_busy) id
                union
                select kept.parent_id
                from busy
                cross join lateral (
                    select kept.parent_id from dtsched.cancelled_by kept where kept.child_id = busy.id offset 0) kept
                where busy.id not in (select id from unnest(p_ids) id)
            )
            select busy.id from busy);
    end if;
    v_retried := array(
        with recursive edge as materialized (
            select edge.child_id, edge.parent_id, edge.on_failure <> 'run' as is_strict,
                parent.state in ('failed', 'cancelled') and parent.skipped is not true as is_failed
            from unnest(v_children, v_parents, v_policies) as edge (child_id, parent_id, on_failure)
            cross join lateral (
                select parent.state, parent.skipped from dtsched.jobs parent where parent.id = edge.parent_id offset 0) parent
        ),
        refused (id) as (
            (select id from unnest(v_busy) id
             union
             select edge.child_id
             from edge
             where edge.is_strict and edge.is_failed and edge.parent_id not in (select id from unnest(v_locked) id))
            union  -- one that is refused may be the parent of another
            select edge.child_id
            from refused
            join edge on edge.parent_id = refused.id and edge.is_strict
        )
        select id from unnest(v_locked) id except select refused.id from refused order by 1);

    -- one that stays cancelled because of another parent comes back with that, if nobody can delete it meanwhile
    insert into dtsched.cancelled_by (parent_id, child_id)
    select distinct edge.parent_id, edge.child_id
    from (select edge.child_id, edge.parent_id
          from unnest(v_children, v_parents, v_policies) as edge (child_id, parent_id, on_failure)
          where edge.on_failure = 'cancel' and edge.child_id not in (select id from unnest(v_retried || p_ids) id)
              and edge.parent_id in (select id from unnest(v_shared) id except select id from unnest(v_retried) id)) edge
    cross join lateral (
        select parent.state, parent.skipped from dtsched.jobs parent where parent.id = edge.parent_id offset 0) parent
    where parent.state in ('failed', 'cancelled') and parent.skipped is not true
    on conflict do nothing;
    delete from dtsched.cancelled_by kept where kept.child_id = any (v_retried);

    perform dtsched.reopen_waits(v_retried);
    perform dtsched.tally_revived(v_retried);
    insert into dtsched.deadlines (deadline, job_id)
    select job.deadline, job.id from dtsched.jobs job where job.id = any (v_retried) and job.deadline is not null
    on conflict do nothing;  -- the entry is there until its deadline has passed
    delete from dtsched.unsuccessful ended
    where ended.state in ('failed', 'cancelled') and ended.job_id = any (v_retried);
    with edge as materialized (
        select edge.child_id, edge.parent_id, edge.on_failure, job.queue
        from unnest(v_children, v_parents, v_policies) as edge (child_id, parent_id, on_failure)
        cross join lateral (
            select parent.state from dtsched.jobs parent where parent.id = edge.parent_id offset 0) parent
        cross join lateral (select job.queue from dtsched.jobs job where job.id = edge.child_id offset 0) job
        where edge.child_id in (select id from unnest(v_retried) id)
            and (parent.state not in ('completed', 'failed', 'cancelled')
                 or edge.parent_id in (select id from unnest(v_retried) id))
    ),
    linked as (
        insert into dtsched.dependencies (parent_id, child_id, on_failure)
        select edge.parent_id, edge.child_id, edge.on_failure from edge
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
            skipped = null,
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
        on conflict on constraint scheduled_pkey do update set queue = excluded.queue  -- an old entry, which fits again
    )
    insert into dtsched.ready (queue, priority, job_id)
    select changed.queue, changed.priority, changed.id from changed where changed.state = 'ready'
    on conflict do nothing;  -- an entry of this very transaction, which fits again
    if v_retried <> '{}' then
        perform dtsched.tell_feed(v_retried, 'retried');
    end if;

    if v_keyed is not null then
        delete from dtsched.keys taken
        where taken.key = any (v_keys) and taken.job_id in (select id from unnest(v_keyed) id)
            and taken.job_id not in (select id from unnest(v_retried) id)
            -- what it held before, it goes on holding
            and (taken.until is null or taken.until <= dtsched.now() or taken.key <> all (v_kept_keys))
            -- somebody else may have retried it while we waited for its key
            and not exists (
                select from dtsched.jobs job
                where job.id = taken.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running') offset 0);
    end if;
    return query
    with retried as materialized (select id from unnest(v_retried) id)
    select asked.id, case
        when asked.id in (select retried.id from retried) then 'retried'
        when asked.id = any (v_key_held) then 'key_held'
        when job.id is null then 'missing'
        when job.state = 'completed' then 'finished'
        when job.state not in ('failed', 'cancelled') then 'unfinished'
        when asked.id in (select id from unnest(v_busy) id) then 'busy'
        when job.deadline <= dtsched.now() and asked.id not in (select id from unnest(v_locked) id) then 'deadline'
        when asked.id not in (select id from unnest(v_locked) id) then 'busy'
        when exists (
            select from unnest(v_children, v_parents, v_policies) edge (child_id, parent_id, on_failure)
            cross join lateral (
                select parent.state, parent.skipped from dtsched.jobs parent where parent.id = edge.parent_id offset 0) parent
            where edge.child_id = asked.id and edge.on_failure <> 'run'
                and parent.state in ('failed', 'cancelled') and parent.skipped is not true) then 'parents'
        else 'busy' end
    from unnest(p_ids) asked (id)
    left join lateral (select job.id, job.state, job.deadline from dtsched.jobs job where job.id = asked.id offset 0) job on true;
end $$;

create or replace function dtsched.retry(p_id bigint) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.retry(array[p_id]) $$;

-- What becomes of those that depend on jobs that failed or were cancelled, by the policy of each edge: cancel cancels the
-- child, and so on with its own children; skip ends it as cancelled and skipped, which counts as completed for its children;
-- run counts the edge down as completed. Cancel goes before skip. The parents' rows are locked and their new state written
-- by the caller, so that a child linked from now on sees it.
--
-- All that are touched are locked before any is changed: level by level they would not be in id order, and deadlock with
-- those of another parent. What others do to them until then may change what becomes of them, and a child may be linked
-- to one of them: so it is found out anew until that needs no further lock. cancelled_by keeps why a job was cancelled
-- (see retry). The edges are deleted when nothing can be added to them.
-- Reads dependencies_pkey, blocked_pkey. Locks: blocked rows by id, jobs by id, keys sorted, edges.
create or replace function dtsched.cancel_descendants(p_parents bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = off  -- it takes 10,000 numbers of an array for 10; what is looked up row by row is lateral
set enable_mergejoin = off
as $$
declare
    v_cancelled bigint[];
    v_failed bigint[];  -- the parents and v_cancelled
    v_skipped bigint[];
    v_counted bigint[];
    v_touched bigint[];
    v_locked bigint[] := '{}';
    v_free bigint[];
    v_ended bigint[];
    v_keys text[];
begin
    if not exists (select from dtsched.dependencies edge where edge.parent_id = any (p_parents)) then
        return;
    end if;
    loop
        v_cancelled := array(
            with recursive failed (id) as (
                select id from unnest(p_parents) id
                union
                select edge.child_id
                from failed
                cross join lateral (
                    select edge.child_id
                    from dtsched.dependencies edge
                    where edge.parent_id = failed.id and edge.on_failure = 'cancel'
                        and exists (select from dtsched.blocked waiting where waiting.job_id = edge.child_id offset 0)
                    offset 0) edge
            )
            select failed.id from failed except select id from unnest(p_parents) id order by 1);
        v_failed := p_parents || v_cancelled;
        v_skipped := array(
            select edge.child_id
            from dtsched.dependencies edge
            where edge.parent_id = any (v_failed) and edge.on_failure = 'skip'
                and exists (select from dtsched.blocked waiting where waiting.job_id = edge.child_id offset 0)
            except select id from unnest(v_cancelled) id
            order by 1);
        v_counted := array(
            select edge.child_id
            from dtsched.dependencies edge
            where (edge.parent_id = any (v_failed) and edge.on_failure = 'run' or edge.parent_id = any (v_skipped))
                and exists (select from dtsched.blocked waiting where waiting.job_id = edge.child_id offset 0)
            except select id from unnest(v_cancelled || v_skipped) id
            order by 1);
        v_touched := array(select id from unnest(v_cancelled || v_skipped || v_counted) id order by id);
        exit when not exists (select id from unnest(v_touched) id except select id from unnest(v_locked) id);
        perform from dtsched.blocked waiting where waiting.job_id = any (v_touched) order by waiting.job_id for update;
        perform from dtsched.jobs job where job.id = any (v_touched) order by job.id for no key update;
        v_locked := v_touched;
    end loop;

    v_ended := v_cancelled || v_skipped;
    if v_ended <> '{}' then
        delete from dtsched.blocked waiting where waiting.job_id = any (v_ended);
        insert into dtsched.cancelled_by (parent_id, child_id)
        select edge.parent_id, edge.child_id
        from dtsched.dependencies edge
        where edge.parent_id = any (v_failed) and edge.on_failure = 'cancel'
            and edge.child_id in (select id from unnest(v_cancelled) id)
        order by edge.parent_id, edge.child_id
        on conflict do nothing;
        update dtsched.jobs job
        set state = 'cancelled',
            finished_at = dtsched.now(),
            error = 'a job it depends on did not complete'
        where job.id = any (v_cancelled) and job.state = 'blocked';
        update dtsched.jobs job
        set state = 'cancelled',
            finished_at = dtsched.now(),
            error = 'skipped: a job it depends on did not complete',
            skipped = true
        where job.id = any (v_skipped) and job.state = 'blocked';
        v_keys := array(select job.key from dtsched.jobs job where job.id = any (v_ended) and job.key is not null);
        if v_keys <> '{}' then
            perform dtsched.free_keys(v_keys, v_ended);
        end if;
        perform dtsched.note_unsuccessful(v_ended);
    end if;
    if v_counted <> '{}' then
        with counted as materialized (
            select edge.child_id, count(*)::integer as done
            from dtsched.dependencies edge
            where edge.parent_id = any (v_failed) and edge.on_failure = 'run' or edge.parent_id = any (v_skipped)
            group by edge.child_id
        ),
        lowered as (
            update dtsched.blocked waiting
            set waiting = waiting.waiting - counted.done
            from counted
            where waiting.job_id = any (v_counted) and counted.child_id = waiting.job_id
            returning waiting.job_id, waiting.waiting
        )
        select array_agg(lowered.job_id order by lowered.job_id)
        into v_free
        from lowered
        where lowered.waiting = 0;
        if v_free is not null then
            delete from dtsched.blocked waiting where waiting.job_id = any (v_free);
            perform dtsched.set_free(v_free);
        end if;
    end if;
    delete from dtsched.dependencies edge where edge.parent_id = any (v_failed || v_skipped);
end $$;

-- Cancels the blocked children of parents that failed or were cancelled, and theirs, level by level. The parents' rows are
-- locked and their new state written by the caller, so that a child linked from now on sees it. Locks, a level at a time:
-- edges, blocked rows by id, jobs by id, keys sorted.
create or replace function dtsched.cancel_descendants(p_parents bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_parents bigint[] := p_parents;
    v_children bigint[];
    v_keys text[];
begin
    while v_parents is not null loop
        with edge as (
            delete from dtsched.dependencies edge where edge.parent_id = any (v_parents) returning edge.child_id
        ),
        locked as materialized (
            select waiting.job_id
            from dtsched.blocked waiting
            where waiting.job_id = any (array(select edge.child_id from edge))
            order by waiting.job_id
            for update
        ),
        gone as (
            delete from dtsched.blocked waiting using locked where waiting.job_id = locked.job_id returning waiting.job_id
        )
        select array_agg(gone.job_id order by gone.job_id)
        into v_children
        from gone;
        with ended as (
            update dtsched.jobs job
            set state = 'cancelled',
                finished_at = dtsched.now(),
                error = 'a job it depends on did not complete'
            where job.id = any (v_children) and job.state = 'blocked'
            returning job.id, job.key
        )
        select array_agg(ended.id), array_agg(ended.key::text) filter (where ended.key is not null)
        into v_parents, v_keys
        from ended;
        if v_keys is not null then
            perform dtsched.free_keys(v_keys, v_parents);
        end if;
    end loop;
end $$;

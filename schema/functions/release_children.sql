-- Counts down the children of parents that have just completed and releases those at zero. The caller has written the
-- parents' state and holds their rows, and this is a new statement: an edge linked before that is seen here, one linked
-- later finds the parent completed. Counting down under the child's lock decides who releases it: "delete my edge, release
-- if none is left" lost the release when the last two parents ended together.
-- Reads dependencies_pkey. Locks: edges, blocked rows by id, jobs by id.
create or replace function dtsched.release_children(p_parents bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = on    -- whoever calls it
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_children bigint[];
    v_free bigint[];
begin
    with edge as (
        delete from dtsched.dependencies edge where edge.parent_id = any (p_parents) returning edge.child_id
    )
    select array_agg(edge.child_id) into v_children from edge;
    if v_children is null then  -- as with most jobs: what is below costs more than that
        return;
    end if;
    with counted as materialized (
        select child_id, count(*)::integer as ended from unnest(v_children) child_id group by child_id
    ),
    locked as materialized (
        select waiting.job_id
        from dtsched.blocked waiting
        where waiting.job_id = any (array(select counted.child_id from counted))
        order by waiting.job_id
        for update
    ),
    lowered as (
        update dtsched.blocked waiting
        set waiting = waiting.waiting - counted.ended
        from counted
        where waiting.job_id = counted.child_id and (select count(*) from locked) > 0  -- all locks first, in id order
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
end $$;

-- Links the blocked jobs that this transaction has submitted to their parents, at its commit (deferred row trigger on unlinked, in
-- which route_new_jobs notes those of each statement). The first row to get here links all of them: linked one statement after
-- another, their parents' locks would be out of order, and deadlock with those who finish. All other rows find theirs gone.
-- The parents are share-locked in id order, so none can end between being read and the edge being written; linked at INSERT, a
-- parent that ends while the submitter's transaction is open is lost. Parents that have completed, or were skipped, do not
-- count. One that failed or was cancelled is linked as if it did so now: the policies of its edges decide. One that does not
-- exist, and jobs of this transaction that wait for each other in a circle, are errors that abort the submission.
-- Reads unlinked_pkey, jobs_pkey, blocked_pkey. Locks: the parents by id, but for those that are linked with them, then
-- set_free's, then cancel_descendants's.
create or replace function dtsched.link_parents() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = off  -- it takes 10,000 numbers of an array for 10; what is looked up row by row is lateral
set enable_mergejoin = off
as $$
declare
    v_noted bigint[];
    v_children bigint[];
    v_queues text[];
    v_edge_children bigint[];
    v_edge_parents bigint[];
    v_policies text[];
    v_parents bigint[];
    v_missing bigint;
    v_linked boolean[];
    v_free bigint[];
    v_ended bigint[];
begin
    if not exists (select from dtsched.unlinked noted where noted.xid = new.xid and noted.n = new.n) then
        return null;
    end if;
    with taken as (
        delete from dtsched.unlinked noted where noted.xid = new.xid and noted.n >= new.n returning noted.children
    )
    select array_agg(child.id) into v_noted from taken cross join lateral unnest(taken.children) child (id);
    -- those that were cancelled in the transaction that submitted them are not blocked any more
    select coalesce(array_agg(job.id order by job.id), '{}'), array_agg(job.queue::text order by job.id)
    into v_children, v_queues
    from dtsched.jobs job
    where job.id = any (v_noted)
        and job.state = 'blocked'
        and not exists (select from dtsched.blocked waiting where waiting.job_id = job.id offset 0);
    select array_agg(edge.child_id), array_agg(edge.parent_id), array_agg(edge.on_failure)
    into v_edge_children, v_edge_parents, v_policies
    from dtsched.edges_of(v_children) edge;

    -- those that are linked themselves were made by this transaction: nobody else sees them before its end
    v_parents := array(select id from unnest(v_edge_parents) id except select id from unnest(v_children) id);
    perform from dtsched.jobs parent
    where parent.id = any (v_parents)
    order by parent.id
    for share;
    with parent as materialized (
        select parent.id, parent.state in ('completed', 'failed', 'cancelled') as has_ended,
            parent.state = 'completed' or parent.skipped is true as is_done
        from dtsched.jobs parent
        where parent.id = any (v_parents)
        union all
        select child.id, false, false from unnest(v_children) child (id)
    )
    select min(edge.parent_id) filter (where parent.id is null),
        array_agg(not parent.is_done order by edge.n),
        array_agg(distinct parent.id) filter (where parent.has_ended and not parent.is_done)
    into v_missing, v_linked, v_ended
    from unnest(v_edge_parents) with ordinality as edge (parent_id, n)
    left join parent on parent.id = edge.parent_id;
    if v_missing is not null then
        raise exception 'depends_on names job %, which does not exist', v_missing
            using errcode = 'JQ001', column = 'depends_on',
                hint = 'depends_on takes ids of jobs that are in the table by the commit.';
    end if;
    -- who waits only for jobs with lower ids is in no circle
    if exists (select from unnest(v_edge_children, v_edge_parents) as edge (child_id, parent_id)
               where edge.parent_id >= edge.child_id) then
        perform dtsched.refuse_circle(v_edge_children, v_edge_parents);
    end if;

    with edge as materialized (
        select edge.child_id, edge.parent_id, edge.on_failure
        from unnest(v_edge_children, v_edge_parents, v_policies, v_linked) as edge (child_id, parent_id, on_failure, is_linked)
        where edge.is_linked
    ),
    waits as materialized (
        select child.id, child.queue, coalesce(edges.count, 0)::integer as waiting
        from unnest(v_children, v_queues) child (id, queue)
        left join (select edge.child_id, count(*) from edge group by edge.child_id) edges on edges.child_id = child.id
    ),
    blocked as (
        insert into dtsched.blocked (job_id, waiting, queue)
        select waits.id, waits.waiting, waits.queue from waits where waits.waiting > 0
    ),
    linked as (
        insert into dtsched.dependencies (parent_id, child_id, on_failure)
        select edge.parent_id, edge.child_id, edge.on_failure from edge order by edge.parent_id
    )
    select array_agg(waits.id) filter (where waits.waiting = 0)
    into v_free
    from waits;
    if v_free is not null then
        perform dtsched.set_free(v_free);
    end if;
    if v_ended is not null then
        perform dtsched.cancel_descendants(v_ended);
    end if;
    return null;
end $$;

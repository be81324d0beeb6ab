-- Links new blocked jobs to their parents at the submitter's commit (deferred row trigger). The parents are share-locked in
-- id order, so none can end between being read and the edge being written; linked at INSERT, a parent that ends while the
-- submitter's transaction is open is lost. The first row to get here links every job that the transaction has submitted
-- (route_new_jobs has noted them): linked one by one, their parents' locks would be out of order, and deadlock
-- with those who finish. Parents that have completed do not count; one that failed or was cancelled cancels the job; one
-- that does not exist is an error that aborts the submission.
-- Reads jobs_pkey, blocked_pkey. Locks: the parents by id, then set_free's, then end_unsuccessful's.
create or replace function dtsched.link_parents() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_noted bigint[];
    v_children bigint[];
    v_missing bigint;
    v_free bigint[];
    v_cancelled bigint[];
begin
    if exists (select from dtsched.blocked waiting where waiting.job_id = new.id) then
        return null;
    end if;
    v_noted := dtsched.take_unlinked();
    -- those that were cancelled in the transaction that submitted them are not blocked any more
    v_children := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (v_noted || new.id)
            and job.state = 'blocked'
            and not exists (select from dtsched.blocked waiting where waiting.job_id = job.id)
        order by job.id);

    perform from dtsched.jobs parent
    where parent.id = any (array(
        select unnest(child.depends_on) from dtsched.jobs child where child.id = any (v_children)))
    order by parent.id
    for share;
    select min(edge.parent_id)
    into v_missing
    from dtsched.jobs child
    cross join lateral unnest(child.depends_on) as edge (parent_id)
    left join dtsched.jobs parent on parent.id = edge.parent_id and parent.id <> child.id
    where child.id = any (v_children) and parent.id is null;
    if v_missing is not null then
        raise exception 'depends_on names job %, which does not exist', v_missing
            using errcode = 'JQ001', column = 'depends_on',
                hint = 'depends_on takes ids of jobs that are in the table by the commit.';
    end if;

    with edge as materialized (
        select child.id as child_id, child.queue, parent.id as parent_id,
            parent.state not in ('completed', 'failed', 'cancelled') as is_open,
            count(*) filter (where parent.state not in ('completed', 'failed', 'cancelled')) over of_child as waiting,
            bool_or(parent.state in ('failed', 'cancelled')) over of_child as is_cancelled
        from dtsched.jobs child
        cross join lateral (select distinct id from unnest(child.depends_on) id) named
        join dtsched.jobs parent on parent.id = named.id
        where child.id = any (v_children)
        window of_child as (partition by child.id)
    ),
    waits as (
        insert into dtsched.blocked (job_id, waiting, queue)
        select distinct edge.child_id, edge.waiting, edge.queue from edge where edge.is_open and not edge.is_cancelled
    ),
    linked as (
        insert into dtsched.dependencies (parent_id, child_id)
        select edge.parent_id, edge.child_id from edge where edge.is_open and not edge.is_cancelled
    )
    select array_agg(distinct edge.child_id) filter (where edge.waiting = 0 and not edge.is_cancelled),
        array_agg(distinct edge.child_id) filter (where edge.is_cancelled)
    into v_free, v_cancelled
    from edge;
    if v_free is not null then
        perform dtsched.set_free(v_free);
    end if;
    if v_cancelled is not null then
        perform dtsched.end_unsuccessful(v_cancelled, 'cancelled', 'a job it depends on did not complete');
    end if;
    return null;
end $$;

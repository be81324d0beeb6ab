-- Cancels the blocked descendants of jobs that failed or were cancelled. The parents' rows are locked and their new state
-- written by the caller, so that a child linked from now on sees it. All descendants are locked before any is ended: level
-- by level they would not be in id order, and deadlock with those of another parent. A child may be linked to one of them
-- until its row is locked: such are found in the next turn. The edges are deleted when nothing can be added to them.
-- Reads dependencies_pkey, blocked_pkey. Locks: blocked rows by id, jobs by id, keys sorted, edges.
create or replace function dtsched.cancel_descendants(p_parents bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_ended bigint[] := p_parents;
    v_descendants bigint[];
    v_now_ended bigint[];
    v_keys text[];
begin
    loop
        v_descendants := array(
            with recursive descendant (id) as (
                select edge.child_id
                from dtsched.dependencies edge
                join dtsched.blocked waiting on waiting.job_id = edge.child_id
                where edge.parent_id = any (v_ended)
                union
                select edge.child_id
                from descendant
                join dtsched.dependencies edge on edge.parent_id = descendant.id
                join dtsched.blocked waiting on waiting.job_id = edge.child_id
            )
            select descendant.id from descendant order by descendant.id);
        exit when v_descendants = '{}';
        perform from dtsched.blocked waiting where waiting.job_id = any (v_descendants) order by waiting.job_id for update;
        delete from dtsched.blocked waiting where waiting.job_id = any (v_descendants);
        with ended as (
            update dtsched.jobs job
            set state = 'cancelled',
                finished_at = dtsched.now(),
                error = 'a job it depends on did not complete'
            where job.id = any (v_descendants) and job.state = 'blocked'
            returning job.id, job.key
        )
        select array_agg(ended.id), array_agg(ended.key::text) filter (where ended.key is not null)
        into v_now_ended, v_keys
        from ended;
        v_ended := v_ended || v_now_ended;
        if v_keys is not null then
            perform dtsched.free_keys(v_keys, v_now_ended);
        end if;
        perform dtsched.note_unsuccessful(v_now_ended);
    end loop;
    delete from dtsched.dependencies edge where edge.parent_id = any (v_ended);
end $$;

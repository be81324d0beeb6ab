-- Keeps the parents of these new jobs from being deleted before the commit, where link_parents would refuse the whole
-- transaction for one that is missing. Returns the first such job, of p_ids, and a parent that is missing, or that somebody deletes just now.
-- Reads jobs_pkey. Locks: jobs by id, for key share, SKIP LOCKED: only who deletes them would wait for that, and does not.
create or replace function dtsched.hold_parents(p_ids bigint[], out job_id bigint, out parent_id bigint)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_parents bigint[];
    v_held bigint[];
begin
    v_parents := array(
        select named.id
        from dtsched.jobs job
        cross join lateral unnest(job.depends_on) named (id)
        where job.id = any (p_ids)
        except
        select id from unnest(p_ids) id);
    v_held := array(
        select parent.id
        from dtsched.jobs parent
        where parent.id = any (v_parents)
        order by parent.id
        for key share skip locked);
    if cardinality(v_held) < cardinality(v_parents) then
        select job.id, named.id
        into job_id, parent_id
        from dtsched.jobs job
        cross join lateral unnest(job.depends_on) named (id)
        where job.id = any (p_ids) and named.id <> all (v_held || p_ids)
        order by job.id, named.id
        limit 1;
    end if;
end $$;

-- Links a new blocked job to its parents at the submitter's commit (deferred row trigger). The parents are share-locked in
-- id order, so none can end between being read and the edge being written; linked at INSERT, a parent that ends while the
-- submitter's transaction is open is lost. Parents that have completed do not count; one that failed or was cancelled
-- cancels the job; one that does not exist is an error that aborts the submission.
create or replace function dtsched.link_parents() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_open bigint[];
    v_found bigint[];
    v_bad bigint;
    v_missing bigint;
begin
    with parent as materialized (
        select job.id, job.state
        from dtsched.jobs job
        where job.id = any (new.depends_on) and job.id <> new.id
        order by job.id
        for share
    )
    select coalesce(array_agg(parent.id) filter (where parent.state not in ('completed', 'failed', 'cancelled')), '{}'),
        coalesce(array_agg(parent.id), '{}'),
        min(parent.id) filter (where parent.state in ('failed', 'cancelled'))
    into v_open, v_found, v_bad
    from parent;
    v_missing := (select min(id) from (select unnest(new.depends_on) except select unnest(v_found)) as missing (id));
    if v_missing is not null then
        raise exception 'depends_on names job %, which does not exist', v_missing
            using errcode = 'JQ001', hint = 'depends_on takes ids of jobs that are in the table by the commit.';
    end if;
    if not exists (select from dtsched.jobs job where job.id = new.id and job.state = 'blocked') then
        return null;  -- cancelled in the transaction that submitted it
    end if;
    if v_bad is not null then
        perform dtsched.end_unsuccessful(array[new.id], 'cancelled', 'a job it depends on did not complete');
    elsif v_open = '{}' then
        perform dtsched.set_free(array[new.id]);
    else
        insert into dtsched.blocked (job_id, waiting) values (new.id, cardinality(v_open));
        insert into dtsched.dependencies (parent_id, child_id) select parent, new.id from unnest(v_open) parent;
    end if;
    return null;
end $$;

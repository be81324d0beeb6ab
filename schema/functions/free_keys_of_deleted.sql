-- Lets go the keys that jobs which are about to be deleted hold beyond their end, and returns those of the jobs that must
-- stay, because somebody is about to take their key. The caller holds the jobs' rows. Locks: the keys, SKIP LOCKED.
create or replace function dtsched.free_keys_of_deleted(p_jobs bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_keys text[];
begin
    if not exists (select from dtsched.jobs job where job.id = any (p_jobs) and job.key_until is not null) then
        return '{}';
    end if;
    v_keys := array(
        select taken.key
        from dtsched.keys taken
        where taken.key = any (array(select job.key::text from dtsched.jobs job where job.id = any (p_jobs)))
            and taken.job_id = any (p_jobs)
        order by taken.key
        for update skip locked);
    delete from dtsched.keys taken where taken.key = any (v_keys) and taken.job_id = any (p_jobs);
    return array(
        select taken.job_id
        from dtsched.keys taken
        where taken.key = any (array(select job.key::text from dtsched.jobs job where job.id = any (p_jobs)))
            and taken.job_id = any (p_jobs));
end $$;

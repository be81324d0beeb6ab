-- Removes ended jobs, whose rows the caller has locked, and everything that is kept of them: a table that holds rows of ended
-- jobs is added here, and nowhere else. Locks: the keys that they still hold, sorted.
create or replace function dtsched.forget(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_keys text[];
begin
    perform dtsched.tally_revived(p_jobs);
    select array_agg(taken.key)
    into v_keys
    from dtsched.jobs job
    join dtsched.keys taken on taken.key = job.key and taken.job_id = job.id
    where job.id = any (p_jobs) and job.key is not null;
    if v_keys is not null then
        perform dtsched.free_keys(v_keys, p_jobs);
    end if;
    delete from dtsched.unsuccessful ended
    where ended.state in ('failed', 'cancelled') and ended.job_id = any (p_jobs);
    delete from dtsched.results stored where stored.job_id = any (p_jobs);
    delete from dtsched.attempts attempt where attempt.job_id = any (p_jobs);
    delete from dtsched.jobs job where job.id = any (p_jobs);
end $$;

-- Removes ended jobs and everything that is kept of them: a table that holds rows of ended jobs is added here, and nowhere else.
-- The caller has locked their rows, and freed the keys that they held beyond their end (free_keys_of_deleted).
create or replace function dtsched.forget(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform dtsched.tally_revived(p_jobs);
    delete from dtsched.unsuccessful ended
    where ended.state in ('failed', 'cancelled') and ended.job_id = any (p_jobs);
    delete from dtsched.results stored where stored.job_id = any (p_jobs);
    delete from dtsched.attempts attempt where attempt.job_id = any (p_jobs);
    delete from dtsched.cancelled_by kept where kept.parent_id = any (p_jobs) or kept.child_id = any (p_jobs);
    delete from dtsched.job_logs logged where logged.job_id = any (p_jobs);
    perform dtsched.drop_steps(p_jobs);
    delete from dtsched.jobs job where job.id = any (p_jobs);
end $$;

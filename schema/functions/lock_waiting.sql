-- Locks those of these jobs that wait, as far as nobody holds their rows, and returns them: nobody starts, releases or
-- cancels them until the caller's transaction ends. Locks: blocked rows by id, then jobs by id, all SKIP LOCKED.
create or replace function dtsched.lock_waiting(p_ids bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_waiting bigint[];
begin
    -- a blocked row before its job, as those who release children take them
    v_waiting := array(
        select waiting.job_id
        from dtsched.blocked waiting
        where waiting.job_id = any (p_ids)
        order by waiting.job_id
        for update skip locked);
    return array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_ids)
            and (job.state in ('scheduled', 'ready')
                 or job.state = 'blocked'
                    and (job.id = any (v_waiting)
                         -- not linked yet: submitted in this transaction
                         or not exists (select from dtsched.blocked waiting where waiting.job_id = job.id)))
        order by job.id
        for update skip locked);
end $$;

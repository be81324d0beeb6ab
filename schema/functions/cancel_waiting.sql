-- Cancels those of these jobs that wait, as far as nobody holds their rows, and returns them.
-- Locks: blocked rows by id, then jobs by id, all SKIP LOCKED, then end_unsuccessful's.
create or replace function dtsched.cancel_waiting(p_ids bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_waiting bigint[];
    v_locked bigint[];
begin
    -- a blocked row before its job, as those who release children take them
    v_waiting := array(
        select waiting.job_id
        from dtsched.blocked waiting
        where waiting.job_id = any (p_ids)
        order by waiting.job_id
        for update skip locked);
    v_locked := array(
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
    if v_locked <> '{}' then
        perform dtsched.end_unsuccessful(v_locked, 'cancelled', 'cancelled before it started');
    end if;
    return v_locked;
end $$;

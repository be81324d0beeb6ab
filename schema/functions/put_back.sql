-- Gives jobs whose row was held by somebody else, and that are still ready as far as can be seen, an entry in ready again.
-- Wakes nobody: a claimer woken by its own entry would turn in a circle for as long as the row is held.
create or replace function dtsched.put_back(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_notify text := coalesce(current_setting('dtsched.notify', true), '');
begin
    perform set_config('dtsched.notify', 'off', true);
    insert into dtsched.ready (queue, priority, job_id)
    select job.queue, job.priority, job.id
    from dtsched.jobs job
    where job.id = any (p_jobs) and job.state = 'ready';
    perform set_config('dtsched.notify', v_notify, true);
end $$;

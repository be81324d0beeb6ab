-- Forgets events older than p_age that nobody waits for, and what ended jobs have left behind: their waits, and entries of
-- scheduled in the year 9999, which no time brings. At most p_limit of each; returns how many in all. Safe to run from every
-- worker at once. Reads events_emitted_idx, event_waits, scheduled_pkey. Locks: what it deletes, SKIP LOCKED.
create or replace function dtsched.forget_events(p_age interval default '30 days', p_limit integer default 1000)
returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
as $$
declare
    v_count integer;
    v_forgotten integer := 0;
begin
    delete from dtsched.event_waits wait
    where wait.ctid = any (array(
        select old.ctid
        from dtsched.event_waits old
        where not exists (
            select from dtsched.jobs job
            where job.id = old.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running'))
        limit p_limit
        for update skip locked));
    get diagnostics v_count = row_count;
    v_forgotten := v_forgotten + v_count;
    delete from dtsched.scheduled entry
    where entry.ctid = any (array(
        select old.ctid
        from dtsched.scheduled old
        where old.run_at >= '9999-12-31 00:00Z'
            and not exists (
                select from dtsched.jobs job
                where job.id = old.job_id and job.state = 'scheduled' and job.run_at = old.run_at)
        limit p_limit
        for update skip locked));
    get diagnostics v_count = row_count;
    v_forgotten := v_forgotten + v_count;
    delete from dtsched.events event
    where event.name = any (array(
        select old.name
        from dtsched.events old
        where old.emitted_at < dtsched.now() - p_age and not old.due
            and not exists (select from dtsched.event_waits wait where wait.event = old.name)
        order by old.emitted_at
        limit p_limit
        for update skip locked));
    get diagnostics v_count = row_count;
    return v_forgotten + v_count;
end $$;

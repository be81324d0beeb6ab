-- Forgets events older than p_age that nobody waits for, and what ended jobs have left behind: their waits, and entries of
-- scheduled in the year 9999, which no time brings. At most p_limit of each; returns how many in all. Safe to run from every
-- worker at once. Reads events_emitted_idx, event_waits, scheduled_pkey. Locks: what it deletes, SKIP LOCKED.
create or replace function dtsched.forget_events(p_age interval default '30 days', p_limit integer default 1000)
returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
as $$
declare
    c_never constant timestamptz := '9999-12-31 00:00Z';
    v_left bigint[];
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
    v_left := array(
        select old.job_id
        from dtsched.scheduled old
        where old.run_at >= c_never
            and not exists (
                select from dtsched.jobs job
                where job.id = old.job_id and job.state = 'scheduled' and job.run_at = old.run_at)
        limit p_limit
        for update skip locked);
    -- a new statement: one that has been parked again since the other began, with this entry, is seen
    delete from dtsched.scheduled entry
    where entry.run_at >= c_never and entry.job_id = any (v_left)
        and not exists (
            select from dtsched.jobs job
            where job.id = entry.job_id and job.state = 'scheduled' and job.run_at = entry.run_at);
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

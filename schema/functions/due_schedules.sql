-- The schedules whose time has come, or whose next time is to be computed (next_at null), the most overdue first, each with
-- what a process needs to compute their times, and the clock that decides. next_seconds is in how many seconds the next of the
-- others is due, null when there is none; when nothing is due, that is all that the one row says.
-- Reads schedules_due_idx. Locks: nothing. Two processes that read the same find out in fire().
create or replace function dtsched.due_schedules(p_limit integer default 100)
returns table (
    name text,
    version bigint,
    spec text,
    tz text,
    since timestamptz,
    next_at timestamptz,
    now timestamptz,
    next_seconds double precision
)
language plpgsql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := dtsched.now();
begin
    return query
    select due.name, due.version, due.spec, due.tz, due.since, due.next_at, v_now,
        (select greatest(0, extract(epoch from later.next_at - v_now))::double precision
         from dtsched.schedules later
         where later.paused_at is null and later.problem is null and later.next_at > v_now and later.next_at < 'infinity'
         order by later.next_at
         limit 1)
    from (select) one
    left join (
        (select schedule.name::text, schedule.version, schedule.spec, schedule.tz, schedule.since, schedule.next_at
         from dtsched.schedules schedule
         where schedule.paused_at is null and schedule.problem is null and schedule.next_at is null
         limit p_limit)
        union all
        (select schedule.name::text, schedule.version, schedule.spec, schedule.tz, schedule.since, schedule.next_at
         from dtsched.schedules schedule
         where schedule.paused_at is null and schedule.problem is null and schedule.next_at <= v_now
         order by schedule.next_at
         limit p_limit)
    ) due on true
    order by due.next_at nulls first;
end $$;

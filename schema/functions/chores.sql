-- What has something to do now, of the steps that would otherwise have to ask for themselves every second: expire, events,
-- schedules. A session tells each deadline once, in the moment that it passes: what was committed late, or could not be done,
-- is found by the steps' own slow rounds. Part of promote().
-- Reads deadlines_pkey, leases_deadline_idx, events_due_idx, schedules_due_idx.
create or replace function dtsched.chores(p_now timestamptz) returns text[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_text text := current_setting('dtsched.chores', true);  -- when this session looked last, in microseconds
    v_since timestamptz := '-infinity';
begin
    if v_text ~ '^[0-9]{1,18}$' then
        v_since := 'epoch'::timestamptz + v_text::bigint * interval '1 microsecond';
        if v_since > p_now then
            v_since := '-infinity';
        end if;
    end if;
    perform set_config('dtsched.chores', (extract(epoch from p_now) * 1000000)::bigint::text, false);
    return array_remove(array[
        case when exists (
            select from dtsched.deadlines entry where entry.deadline > v_since and entry.deadline <= p_now)
            or exists (
                select from dtsched.leases lease
                where lease.deadline > v_since - interval '6 s' and lease.deadline <= p_now - interval '6 s')
            then 'expire' end,
        case when exists (select from dtsched.events event where event.due) then 'events' end,
        case when exists (
            select from dtsched.schedules schedule
            where schedule.paused_at is null and schedule.problem is null
                and (schedule.next_at is null or schedule.next_at <= p_now))
            then 'schedules' end], null);
end $$;

-- What has something to do now, of the steps that would otherwise have to ask for themselves every second: rescue, expire,
-- events, schedules, operations. A time is told of for a minute after it has passed, and when promote() starts from the
-- beginning (p_all, every few seconds) however long that is ago: so what is dead in the indexes, or cannot be done yet, is not
-- met every second. Workers, each of whose renewals leaves a dead row, are looked at only then. Part of promote().
-- Reads workers, deadlines_pkey, leases_deadline_idx, events_due_idx, schedules_due_idx, operations_unfinished_idx.
create or replace function dtsched.chores(p_now timestamptz, p_all boolean) returns text[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_since timestamptz := case when p_all then '-infinity' else p_now - interval '1 minute' end;
begin
    return array_remove(array[
        case when p_all and exists (
            select
            from dtsched.workers worker
            where worker.lost_at is null and worker.expires_at < p_now
                or worker.lost_at > p_now - worker.lease)  -- what is locked now, or commits late
            then 'rescue' end,
        case when exists (
            select from dtsched.deadlines entry where entry.deadline > v_since and entry.deadline <= p_now)
            or exists (
                select from dtsched.leases lease
                where lease.deadline > v_since and lease.deadline < p_now - interval '5 s')
            then 'expire' end,
        case when exists (select from dtsched.events event where event.due) then 'events' end,
        case when exists (
            select from dtsched.schedules schedule
            where schedule.paused_at is null and schedule.problem is null
                and (schedule.next_at is null or schedule.next_at <= p_now))
            then 'schedules' end,
        case when exists (
            select from dtsched.operations operation
            where operation.state in ('pending', 'running') and operation.next_at <= p_now)
            then 'operations' end], null);
end $$;

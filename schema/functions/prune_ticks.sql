-- Removes ticks that were noted longer ago than p_keep, at most p_limit, and returns how many. The last tick of a schedule
-- stays. Safe to run from every process at once. Reads ticks_at_idx. Locks: those ticks, SKIP LOCKED.
create or replace function dtsched.prune_ticks(p_keep interval default interval '7 days', p_limit integer default 1000)
returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_removed integer;
begin
    delete from dtsched.ticks noted
    where noted.ctid = any (array(
        select old.ctid
        from dtsched.ticks old
        where old.at < dtsched.now() - p_keep
            and not exists (select from dtsched.schedules schedule
                            where schedule.name = old.schedule and schedule.last_tick = old.tick)
        order by old.at
        limit p_limit
        for update skip locked));
    get diagnostics v_removed = row_count;
    return v_removed;
end $$;

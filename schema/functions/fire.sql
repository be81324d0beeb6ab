-- Fires a schedule: notes its ticks, submits the jobs of those that are to run, and says when the next one is, all in one
-- transaction; returns what became of each tick. p_version and p_due are what due_schedules() told (version, next_at),
-- p_ticks the ticks from p_due to that moment, or the newest of them, in order, and p_next the one after them (null: never
-- again). With p_due null there are no ticks, and p_next alone is noted.
--
-- Whoever comes second finds that next_at has moved on; after an edit, a pause or a removal since due_schedules() the version
-- is another one; ticks_pkey says the last word. In all these cases nothing is done and no row returned, and nothing is lost:
-- the schedule stays due until one call has committed all of this together.
--
-- A tick that is late by no more than the schedule's tolerance runs. Of later ones, after an outage, catchup decides: skip,
-- none; latest, the last one unless one in time runs; all, the newest catchup_limit. Unless overlap is allow only the newest of
-- these runs. What does not run is noted as missed (too late) or skipped (overlap). A job that submit_many() refuses, as a
-- plain UPDATE can bring about, becomes the schedule's problem, and it fires no more until it is changed.
-- Locks: the schedule's row SKIP LOCKED, then cancel's, then submit_many's.
create or replace function dtsched.fire(
    p_name text,
    p_version bigint,
    p_due timestamptz,
    p_ticks timestamptz[],
    p_next timestamptz
)
returns table (tick timestamptz, outcome text, job_id bigint)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_schedule dtsched.schedules;
    v_now timestamptz;
    v_in_time timestamptz[];
    v_late timestamptz[];
    v_running timestamptz[];
    v_skipped timestamptz[] := '{}';
    v_jobs bigint[] := '{}';
begin
    select schedule.* into v_schedule
    from dtsched.schedules schedule
    where schedule.name = p_name and schedule.version = p_version and schedule.next_at is not distinct from p_due
        and schedule.paused_at is null and schedule.problem is null
    for no key update skip locked;
    if not found then
        return;
    end if;
    v_now := dtsched.now();
    if p_due is null then
        update dtsched.schedules schedule set next_at = coalesce(p_next, 'infinity') where schedule.name = p_name;
        return;
    end if;
    if p_ticks[cardinality(p_ticks)] > v_now or p_next <= p_ticks[cardinality(p_ticks)] then
        return;  -- the clock has gone back meanwhile
    end if;

    select coalesce(array_agg(given.tick order by given.tick) filter (where given.tick >= v_now - v_schedule.tolerance), '{}'),
        coalesce(array_agg(given.tick order by given.tick) filter (where given.tick < v_now - v_schedule.tolerance), '{}')
    into v_in_time, v_late
    from unnest(p_ticks) given (tick)
    where not exists (select from dtsched.ticks known where known.schedule = p_name and known.tick = given.tick);
    v_running := case
        when v_schedule.catchup = 'all' then v_late[greatest(1, cardinality(v_late) - v_schedule.catchup_limit + 1):]
        when v_schedule.catchup = 'latest' and v_in_time = '{}' then v_late[cardinality(v_late):]
        else '{}' end || v_in_time;
    if v_schedule.overlap <> 'allow' and v_running <> '{}' then
        v_skipped := v_running[:cardinality(v_running) - 1];
        v_running := v_running[cardinality(v_running):];
        if v_schedule.overlap = 'skip' and dtsched.unfinished(v_schedule.last_job_id) then
            v_skipped := v_skipped || v_running;
            v_running := '{}';
        elsif v_schedule.overlap = 'cancel' and v_schedule.last_job_id is not null then
            perform dtsched.cancel(array[v_schedule.last_job_id]);
        end if;
    end if;

    if v_running <> '{}' then
        begin
            v_jobs := array(select case when submitted.created then submitted.job_id end
                            from dtsched.submit_scheduled(v_schedule, v_running) submitted);
        exception
            when sqlstate 'JQ001' then
                update dtsched.schedules schedule set problem = sqlerrm where schedule.name = p_name;
                return;
        end;
    end if;
    return query
    insert into dtsched.ticks as noted (schedule, tick, outcome, job_id)
    select p_name, due.tick,
        case when run.job_id is not null then 'fired'
             when run.n is not null or due.tick = any (v_skipped) then 'skipped'
             else 'missed' end,
        run.job_id
    from (select unnest(v_late || v_in_time)) due (tick)
    left join unnest(v_running, v_jobs) with ordinality run (tick, job_id, n) on run.tick = due.tick
    order by due.tick
    returning noted.tick, noted.outcome, noted.job_id;
    update dtsched.schedules schedule
    set next_at = coalesce(p_next, 'infinity'),
        last_tick = p_ticks[cardinality(p_ticks)],
        last_job_id = coalesce((array_remove(v_jobs, null))[cardinality(array_remove(v_jobs, null))], schedule.last_job_id)
    where schedule.name = p_name;
end $$;

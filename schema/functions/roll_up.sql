-- Adds the tallies of past minutes up into stats_1m, and its minutes of over p_keep ago into one of '-infinity', so that the
-- sums of all stay true. Returns how many rows it took. Safe to run from every worker at once; does nothing while another
-- does it. Locks: an advisory lock of the transaction.
create or replace function dtsched.roll_up(p_keep interval default interval '7 days') returns bigint
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_minute timestamptz := date_trunc('minute', dtsched.now());
    v_taken bigint;
begin
    if not pg_try_advisory_xact_lock(dtsched.chores_gate(), 2) then
        return 0;
    end if;
    with taken as (
        delete from dtsched.tallies fresh where fresh.minute < v_minute returning *
    ),
    old as (
        delete from dtsched.stats_1m rolled
        where rolled.minute < v_minute - p_keep and rolled.minute > '-infinity'
        returning *
    ),
    summed as (
        select case when part.minute < v_minute - p_keep then '-infinity' else part.minute end as minute, part.queue, part.task,
            part.event, part.wait_bucket, part.run_bucket, sum(part.jobs) as jobs, sum(part.wait_seconds) as wait_seconds,
            sum(part.run_seconds) as run_seconds
        from (
            select taken.minute, taken.queue, taken.task, taken.event, taken.wait_bucket, taken.run_bucket, taken.jobs,
                taken.wait_seconds, taken.run_seconds
            from taken
            union all
            select old.minute, old.queue, old.task, old.event, old.wait_bucket, old.run_bucket, old.jobs, old.wait_seconds,
                old.run_seconds
            from old) part
        group by 1, 2, 3, 4, 5, 6
    ),
    added as (
        insert into dtsched.stats_1m as rolled
            (minute, queue, task, event, wait_bucket, run_bucket, jobs, wait_seconds, run_seconds)
        select summed.minute, summed.queue, summed.task, summed.event, summed.wait_bucket, summed.run_bucket, summed.jobs,
            summed.wait_seconds, summed.run_seconds
        from summed
        on conflict on constraint stats_1m_pkey do update
        set jobs = rolled.jobs + excluded.jobs,
            wait_seconds = rolled.wait_seconds + excluded.wait_seconds,
            run_seconds = rolled.run_seconds + excluded.run_seconds
    )
    select count(*) into v_taken from taken;
    return v_taken;
end $$;

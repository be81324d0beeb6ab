-- The counts of the minutes from p_from on and before p_to, rolled up or not: a minute may come in several rows.
create or replace function dtsched.counted(p_from timestamptz, p_to timestamptz)
returns table (
    minute timestamptz,
    queue text,
    task text,
    event text,
    wait_bucket smallint,
    run_bucket smallint,
    jobs bigint,
    wait_seconds double precision,
    run_seconds double precision
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select rolled.minute, rolled.queue, rolled.task, rolled.event, rolled.wait_bucket, rolled.run_bucket, rolled.jobs,
        rolled.wait_seconds, rolled.run_seconds
    from dtsched.stats_1m rolled
    where rolled.minute >= p_from and rolled.minute < p_to
    union all
    select fresh.minute, fresh.queue, fresh.task, fresh.event, fresh.wait_bucket, fresh.run_bucket, fresh.jobs,
        fresh.wait_seconds, fresh.run_seconds
    from dtsched.tallies fresh
    where fresh.minute >= p_from and fresh.minute < p_to
$$;

-- What became of the ticks of a schedule, newest first: fired (with the job), skipped (overlap) or missed (too late).
create or replace function dtsched.list_ticks(p_name text, p_limit integer default 20)
returns table (tick timestamptz, outcome text, job_id bigint, at timestamptz)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select noted.tick, noted.outcome, noted.job_id, noted.at
    from dtsched.ticks noted
    where noted.schedule = p_name
    order by noted.tick desc
    limit least(p_limit, 1000)
$$;

-- The limit keys that have limits of their own, jobs that run, or jobs that wait, by key; only p_key if given, and from p_after on.
-- At most p_limit. concurrency, rate and burst are what was set for the key; waiting is counted up to 10,000.
-- Reads limits_pkey, leases_limit_idx, parked_limit_idx.
create or replace function dtsched.list_limits(p_key text default null, p_after text default null, p_limit integer default 200)
returns table (
    limit_key text,
    concurrency integer,
    rate double precision,
    burst integer,
    running bigint,
    waiting bigint,
    open_until timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select limited.limit_key, limited.concurrency, limited.rate, limited.burst, running.jobs, waiting.jobs,
        case when breaker.is_open then limited.open_until end
    from dtsched.limits limited
    cross join lateral (
        select count(*) as jobs from dtsched.leases lease where lease.limit_key = limited.limit_key) running
    cross join lateral (
        select count(*) as jobs
        from (select from dtsched.parked entry
              where entry.limit_key = limited.limit_key and entry.reason = 'limit' limit 10000) entry) waiting
    cross join lateral (
        select dtsched.breaker_tries(limited.open_until, limited.probe_id, dtsched.now()) is not null as is_open) breaker
    where (p_key is null or limited.limit_key = p_key)
        and (p_after is null or limited.limit_key > p_after)
        and (limited.concurrency is not null or limited.rate is not null or limited.burst is not null
             or breaker.is_open or running.jobs > 0 or waiting.jobs > 0)
    order by limited.limit_key
    limit least(p_limit, 200)
$$;

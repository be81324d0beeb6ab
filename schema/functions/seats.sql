-- How many more jobs of each of these limit keys may start in a queue now, and if none because of the time, from when on one
-- may; watched are those whose starts take tokens, or try whether the key's breaker may close. Exact for who holds the keys' rows: seats are the leases themselves, so none can leak. A key without a row of its own
-- has none. Reads limits_pkey, leases_limit_idx.
create or replace function dtsched.seats(p_queue text, p_keys text[], p_now timestamptz)
returns table (limit_key text, seats integer, watched boolean, wake_at timestamptz)
language sql stable
as $$
    select limited.limit_key,
        greatest(0, floor(least(rule.concurrency - running.jobs, bucket.tokens, breaker.tries)))::integer,
        rule.rate is not null or limited.open_until is not null,
        case
            when rule.concurrency <= running.jobs then null
            when breaker.tries = 0 then case when limited.open_until > p_now then limited.open_until end
            when bucket.tokens < 1 then p_now + make_interval(secs => (1 - bucket.tokens) / rule.rate)
        end
    from unnest(p_keys) wanted (limit_key)
    join dtsched.limits limited on limited.limit_key = wanted.limit_key
    left join dtsched.queues queue on queue.name = p_queue
    cross join lateral (
        select coalesce(limited.concurrency, (queue.settings ->> 'key_limit')::integer, 1) as concurrency,
            coalesce(limited.rate, (queue.settings ->> 'key_rate')::double precision) as rate,
            coalesce(limited.burst, (queue.settings ->> 'key_burst')::integer) as burst) rule
    cross join lateral (
        select count(*) as jobs from dtsched.leases lease where lease.limit_key = limited.limit_key) running
    cross join lateral (
        select dtsched.tokens(limited.tokens, limited.refilled_at, rule.rate, rule.burst, p_now) as tokens) bucket
    cross join lateral (
        select case when limited.open_until is not null  -- a call costs more than all the rest
            then dtsched.breaker_tries(limited.open_until, limited.probe_id, p_now) end as tries) breaker
$$;

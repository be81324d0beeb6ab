-- Seconds to wait before the attempt after attempt number p_attempt (from 1), at most 366 days. p_backoff is jobs.backoff,
-- {"kind": "exponential" | "linear" | "fixed", "base": seconds, "cap": seconds, "jitter": share}; what is missing is
-- 2^n seconds, plus or minus a quarter, at most an hour. What is not a number counts as missing: raising here would make
-- finish() fail for ever.
create or replace function dtsched.retry_delay(p_backoff jsonb, p_attempt integer) returns double precision
language sql volatile
as $$
    select greatest(0, least(cap, 31622400, case kind
            when 'fixed' then base
            when 'linear' then base * p_attempt
            else base * power(2, least(p_attempt, 40) - 1) end)
        * (1 - jitter + 2 * jitter * random()))
    from (select
            coalesce(p_backoff ->> 'kind', 'exponential') as kind,
            greatest(0, least(31622400, case jsonb_typeof(p_backoff -> 'base')
                when 'number' then (p_backoff -> 'base')::numeric else 2 end))::double precision as base,
            greatest(0, least(31622400, case jsonb_typeof(p_backoff -> 'cap')
                when 'number' then (p_backoff -> 'cap')::numeric else 3600 end))::double precision as cap,
            greatest(0, least(1, case jsonb_typeof(p_backoff -> 'jitter')
                when 'number' then (p_backoff -> 'jitter')::numeric else 0.25 end))::double precision as jitter) policy
$$;

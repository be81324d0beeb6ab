-- Seconds to wait before the attempt after attempt number p_attempt (from 1). p_backoff is jobs.backoff,
-- {"kind": "exponential" | "linear" | "fixed", "base": seconds, "cap": seconds, "jitter": share}; what is missing is
-- 2^n seconds, plus or minus a quarter, at most an hour.
create or replace function dtsched.retry_delay(p_backoff jsonb, p_attempt integer) returns double precision
language sql volatile
as $$
    select least(cap, case kind
            when 'fixed' then base
            when 'linear' then base * p_attempt
            else base * power(2, least(p_attempt, 40) - 1) end)
        * (1 - jitter + 2 * jitter * random())
    from (select
            coalesce(p_backoff ->> 'kind', 'exponential') as kind,
            coalesce((p_backoff ->> 'base')::double precision, 2) as base,
            coalesce((p_backoff ->> 'cap')::double precision, 3600) as cap,
            coalesce((p_backoff ->> 'jitter')::double precision, 0.25) as jitter) policy
$$;

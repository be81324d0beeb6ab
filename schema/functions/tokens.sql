-- What is in a token bucket by now, from 0 to its burst: it was left with p_tokens at p_refilled_at, and gets p_rate a second.
-- A bucket that nobody has used yet is full, and so is one that was filled in the future: the clock was set back, and it would
-- be empty until then. A burst is a second's worth unless said otherwise, at least 1. Null without a
-- rate: there is no bucket. (A single expression: the planner puts it in place of the call.)
create or replace function dtsched.tokens(
    p_tokens double precision, p_refilled_at timestamptz, p_rate double precision, p_burst integer, p_now timestamptz
)
returns double precision
language sql immutable
as $$
    select case when p_rate is not null then least(
        greatest(coalesce(p_burst, ceil(p_rate)), 1),
        coalesce(case when extract(epoch from p_now - p_refilled_at) >= -1
            then p_tokens + p_rate * greatest(0, extract(epoch from p_now - p_refilled_at)) end, 'infinity')) end
$$;

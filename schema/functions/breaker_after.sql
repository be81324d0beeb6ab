-- What a circuit breaker is like after p_failures more failures: p_rule is {"failures": n, "within": seconds, "cooldown":
-- seconds}. It opens with n failures within that time, and again with any failure of what it let try.
create or replace function dtsched.breaker_after(
    p_rule jsonb, p_failed_at timestamptz[], p_failures integer, p_open_until timestamptz, p_now timestamptz
)
returns table (failed_at timestamptz[], open_until timestamptz)
language sql immutable
as $$
    select recent.failed_at,
        case
            when p_open_until > p_now then p_open_until
            when p_open_until is not null or cardinality(recent.failed_at) >= rule.failures
                then p_now + make_interval(secs => rule.cooldown)
        end
    from (select (p_rule ->> 'failures')::integer as failures, (p_rule ->> 'within')::double precision as within,
              (p_rule ->> 'cooldown')::double precision as cooldown) rule
    cross join lateral (
        select array(
            select at
            from (select at from unnest(p_failed_at || array_fill(p_now, array[least(p_failures, rule.failures)])) at
                  where at > p_now - make_interval(secs => rule.within)
                  order by at desc
                  limit rule.failures) newest
            order by at) as failed_at) recent
$$;

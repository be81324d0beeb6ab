-- What an open circuit breaker waits for, in words.
create or replace function dtsched.why_breaker(p_what text, p_open_until timestamptz, p_probe bigint, p_now timestamptz)
returns text
language sql stable
as $$
    select case when p_open_until > p_now
        then format('too many jobs of %s failed: nothing of it starts until %s', p_what, date_trunc('second', p_open_until))
        else format('too many jobs of %s failed: it waits for job %s, by which it tries whether it may go on', p_what, p_probe)
    end
$$;

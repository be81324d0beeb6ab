-- How many jobs a circuit breaker lets start: any number (null) while it is closed, none while it is open, and then one at a
-- time until one has completed. A probe that neither completed nor failed (it was cancelled, say) is followed by another.
create or replace function dtsched.breaker_tries(p_open_until timestamptz, p_probe bigint, p_now timestamptz) returns integer
language sql stable
as $$
    select case
        when p_open_until > p_now then 0
        when probe.state = 'running' then 0
        when probe.state = 'completed' then null
        else 1
    end
    from (select (select job.state from dtsched.jobs job where job.id = p_probe) as state) probe
    where p_open_until is not null
$$;

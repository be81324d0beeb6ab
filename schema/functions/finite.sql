-- A time as programs can read it: of infinity, the last second of the year 9999.
create or replace function dtsched.finite(p_time timestamptz) returns timestamptz
language sql immutable
as $$
    select case when p_time > '9999-12-31 23:59:59Z' then '9999-12-31 23:59:59Z'
                when p_time < '1970-01-01 00:00Z' then '1970-01-01 00:00Z' else p_time end
$$;

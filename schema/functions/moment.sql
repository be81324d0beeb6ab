-- A time out of JSON: "2030-01-31T09:00:00Z", or {"seconds_ago": 3600}; null of null.
create or replace function dtsched.moment(p_moment jsonb) returns timestamptz
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case jsonb_typeof(p_moment)
        when 'object' then dtsched.now() - make_interval(secs => (p_moment ->> 'seconds_ago')::double precision)
        else (p_moment #>> '{}')::timestamptz end
$$;

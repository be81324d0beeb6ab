-- When that many seconds have passed since a time; 'Infinity' seconds never do.
create or replace function dtsched.expiry(p_since timestamptz, p_seconds double precision) returns timestamptz
language sql stable
as $$ select case when p_seconds = 'Infinity' then 'infinity' else p_since + make_interval(secs => p_seconds) end $$;

-- The bucket, from 1, that so many seconds fall into (see bucket_bounds); 0 when there was nothing to measure.
create or replace function dtsched.bucket(p_seconds double precision) returns smallint
language sql immutable parallel safe
as $$ select coalesce(1 + width_bucket(p_seconds, dtsched.bucket_bounds()), 0)::smallint $$;

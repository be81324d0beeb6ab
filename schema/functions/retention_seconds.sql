-- What a retention says of one of its members in seconds, 'Infinity' being forever; null where it says nothing that can be
-- understood: what nobody checked when it was written must not delete anything.
create or replace function dtsched.retention_seconds(p_retention jsonb, p_name text) returns double precision
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case
        when jsonb_typeof(p_retention) <> 'object' then null
        when p_retention -> p_name = '"forever"' then 'Infinity'
        when jsonb_typeof(p_retention -> p_name) = 'number' and (p_retention ->> p_name)::numeric between 0 and 36600 * 86400::numeric
            then (p_retention ->> p_name)::double precision
    end
$$;

-- The function of dtsched that somebody called, of all that a PG_CONTEXT names: the outermost; null for a plain statement.
-- The server may say it in any language: the name stands between PL/pgSQL and the first bracket. Part of the trace.
create or replace function dtsched.called(p_stack text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select line.name[1]
    from regexp_matches(p_stack, '^[^"(]*PL/pgSQL[^"(]*?([a-z0-9_]+)\(', 'gn') with ordinality as line (name, number)
    where line.name[1] not in ('record_leases', 'record_transitions', 'record_workers')
    order by line.number desc
    limit 1
$$;

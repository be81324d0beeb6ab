-- Rates and latencies are of the time since then: this minute and the four before.
create or replace function dtsched.rates_from() returns timestamptz
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$ select date_trunc('minute', dtsched.now()) - interval '4 minutes' $$;

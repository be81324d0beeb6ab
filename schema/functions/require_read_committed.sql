-- Raises JQ001 in a transaction that is not READ COMMITTED: one with an older snapshot does not see what was committed since,
-- and whoever changes what others wait for has to see all who wait. For those that end jobs, free seats or change limits.
create or replace function dtsched.require_read_committed() returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'what ends or retries jobs, or changes limits, is done in a transaction that is READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            using errcode = 'JQ001', hint = 'It would miss jobs that have come to wait for this since the transaction began.';
    end if;
end $$;

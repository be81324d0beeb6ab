-- Sets the ids of leases forward, beyond all that may ever have been given out, unless that has been done since this server was
-- started, or anyway. A server that is started may have gone back in time: it is a standby that was promoted and had missed the last
-- commits, or a backup. Its sequence would repeat ids of leases that workers, who know nothing of that, still hold, and what they
-- finish by them would be the end of other jobs.
--
-- So ids go on from the number of microseconds since 1970: fewer leases than that were ever given out before, whatever became of
-- their commits, unless that clock was ahead; then a random part of a second makes it unlikely that an id repeats. Those that are
-- held over a plain restart stay valid, and the ids of one worker still grow with time.
--
-- A sequence does not go back with its transaction, so one that is rolled back has done no harm, and whoever finds the row held
-- by a transaction that is still open knows that the ids have been set forward: the lock around it lasts for an instant.
-- Locks: the row of lease_epoch, SKIP LOCKED.
create or replace function dtsched.new_epoch(p_anyway boolean default false) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    c_last constant bigint := 9007199254740991 - 1000000000000;  -- in 2255: from there on they go on by what is left
    v_gate constant integer := dtsched.chores_gate();
begin
    begin
        perform pg_advisory_lock(v_gate, 41);
        perform
        from dtsched.lease_epoch known
        where p_anyway or known.server_started_at <> pg_postmaster_start_time() or known.ids <> 'dtsched.lease_id_seq'::regclass
        for update skip locked;
        if found then
            perform setval('dtsched.lease_id_seq', (random() * 1000000)::bigint + greatest(
                nextval('dtsched.lease_id_seq'), least(c_last, (extract(epoch from clock_timestamp()) * 1000000)::bigint)));
            update dtsched.lease_epoch known
            set server_started_at = pg_postmaster_start_time(),
                ids = 'dtsched.lease_id_seq'::regclass;
        end if;
    exception
        when query_canceled or others then  -- a lock of the session would stay
            perform pg_advisory_unlock(v_gate, 41);
            raise;
    end;
    perform pg_advisory_unlock(v_gate, 41);
end $$;

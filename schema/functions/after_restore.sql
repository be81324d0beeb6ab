-- To be called once after a dump was loaded, or a database was copied by CREATE DATABASE … TEMPLATE, before workers are started on
-- it. Ids of jobs and leases go on beyond what is there, and beyond what workers of before may still hold; entries that carry
-- numbers of transactions of another server get one of this, so that claims need not meet them again and again.
-- Called again, or needlessly, it does no harm. A backup or a standby that is started needs no call: see new_epoch(). Only the
-- owner may. Locks: new_epoch's, then entries of ready, SKIP LOCKED: what
-- somebody claims needs no new number.
create or replace function dtsched.after_restore() returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_next xid8 := pg_snapshot_xmax(pg_current_snapshot());
begin
    perform setval('dtsched.job_id_seq', greatest(nextval('dtsched.job_id_seq'), (select max(job.id) from dtsched.jobs job)));
    perform dtsched.new_epoch(p_anyway => true);  -- a claim passes over the row of a transaction that is still open
    delete from dtsched.ages age where age.xid > v_next;
    with foreign_entries as materialized (
        select entry.queue, entry.priority, entry.xid, entry.job_id
        from dtsched.ready entry
        where entry.xid >= v_next
        for update skip locked
    )
    update dtsched.ready entry
    set xid = pg_current_xact_id()
    from foreign_entries
    where entry.queue = foreign_entries.queue and entry.priority = foreign_entries.priority
        and entry.xid = foreign_entries.xid and entry.job_id = foreign_entries.job_id;
end $$;

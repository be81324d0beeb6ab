-- Switches the trace on or off: while it is on, every statement that changes a job's state also writes job_events, one that
-- grants or ends leases lease_events, and one that changes until when a worker's leases are valid worker_events, whoever
-- issued it. It doubles the WAL, so it is for tests, the demo and torture; off, there is no trigger. Only the owner may.
create or replace function dtsched.trace(p_on boolean) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    drop trigger if exists trace_new on dtsched.jobs;
    drop trigger if exists trace_changed on dtsched.jobs;
    drop trigger if exists trace_deleted on dtsched.jobs;
    drop trigger if exists trace_granted on dtsched.leases;
    drop trigger if exists trace_released on dtsched.leases;
    drop trigger if exists trace_new on dtsched.workers;
    drop trigger if exists trace_changed on dtsched.workers;
    drop trigger if exists trace_deleted on dtsched.workers;
    if p_on then
        create trigger trace_new after insert on dtsched.jobs
            referencing new table as new_jobs
            for each statement execute function dtsched.record_transitions();
        create trigger trace_changed after update on dtsched.jobs
            referencing old table as old_jobs new table as new_jobs
            for each statement execute function dtsched.record_transitions();
        create trigger trace_deleted after delete on dtsched.jobs
            referencing old table as old_jobs
            for each statement execute function dtsched.record_transitions();
        create trigger trace_granted after insert on dtsched.leases
            referencing new table as moved_leases
            for each statement execute function dtsched.record_leases();
        create trigger trace_released after delete on dtsched.leases
            referencing old table as moved_leases
            for each statement execute function dtsched.record_leases();
        create trigger trace_new after insert on dtsched.workers
            referencing new table as new_workers
            for each statement execute function dtsched.record_workers();
        create trigger trace_changed after update on dtsched.workers
            referencing old table as old_workers new table as new_workers
            for each statement execute function dtsched.record_workers();
        create trigger trace_deleted after delete on dtsched.workers
            referencing old table as old_workers
            for each statement execute function dtsched.record_workers();
    end if;
end $$;

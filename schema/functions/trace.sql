-- Switches the transition trace on or off: while it is on, every statement that changes a job's state also writes
-- job_events, whoever issued it. It doubles the WAL, so it is for tests, the demo and torture. Only the owner may.
create or replace function dtsched.trace(p_on boolean) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    drop trigger if exists trace_new on dtsched.jobs;
    drop trigger if exists trace_changed on dtsched.jobs;
    drop trigger if exists trace_deleted on dtsched.jobs;
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
    end if;
end $$;

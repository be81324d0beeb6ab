-- The triggers, laid anew at each `migrate up`. Row triggers on jobs are inherited by its partitions; statement triggers are
-- not, so ensure_partitions() lays route_new_jobs on each partition it makes.
create or replace trigger place_new_job before insert on dtsched.jobs
    for each row when (new.state = 'ready' and (new.run_at is not null or new.depends_on is not null or new.on_parent_failure is not null))
    execute function dtsched.place_new_job();

create or replace trigger route_new_jobs after insert on dtsched.jobs
    referencing new table as new_jobs
    for each statement execute function dtsched.route_new_jobs();
create or replace trigger route_new_jobs after insert on dtsched.jobs_default
    referencing new table as new_jobs
    for each statement execute function dtsched.route_new_jobs();

do $$
begin  -- a constraint trigger cannot be replaced, and to drop it takes the table from who only reads it: a revision has to, if it changes
    if not exists (select from pg_trigger where tgrelid = 'dtsched.unlinked'::regclass and tgname = 'link_parents') then
        create constraint trigger link_parents after insert on dtsched.unlinked
            deferrable initially deferred
            for each row execute function dtsched.link_parents();
    end if;
end $$;

create or replace trigger wake_hungry_workers after insert on dtsched.ready
    referencing new table as new_entries
    for each statement execute function dtsched.wake_hungry_workers();
create or replace trigger wake_hungry_workers after insert on dtsched.parked
    referencing new table as new_entries
    for each statement execute function dtsched.wake_hungry_workers();

create or replace trigger note_schedule_change before update on dtsched.schedules
    for each row when ((old.spec, old.tz, old.task, old.args, old.queue, old.priority, old.max_attempts, old.timeout,
                        old.limit_key, old.tags, old.backoff, old.catchup, old.catchup_limit, old.overlap, old.tolerance,
                        old.paused_at) is distinct from
                       (new.spec, new.tz, new.task, new.args, new.queue, new.priority, new.max_attempts, new.timeout,
                        new.limit_key, new.tags, new.backoff, new.catchup, new.catchup_limit, new.overlap, new.tolerance,
                        new.paused_at))
    execute function dtsched.note_schedule_change();

select dtsched.ensure_partitions();

-- A definition that was changed has another version; with another spec, zone or end of a pause, its next tick is to be computed
-- anew, from now on: what fell into a pause is not made up for. Before-row trigger on schedules, so that the owner's plain
-- UPDATE counts as much as schedule().
create or replace function dtsched.note_schedule_change() returns trigger
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    new.version := nextval('dtsched.schedule_version_seq');
    new.updated_at := dtsched.now();
    new.problem := null;
    if (new.spec, new.tz) is distinct from (old.spec, old.tz) or (new.paused_at is null and old.paused_at is not null) then
        new.since := dtsched.now();
        new.next_at := null;
    end if;
    return new;
end $$;

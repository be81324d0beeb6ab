-- Gives a new row that waits for a time or for parents the state that says so. Before-row trigger on jobs; its WHEN clause
-- keeps the ordinary row from calling it at all. A policy is refused here that no domain guards.
create or replace function dtsched.place_new_job() returns trigger
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if new.on_parent_failure not in ('cancel', 'run', 'skip') then
        raise exception 'on_parent_failure must be cancel, run or skip, not %', left(to_jsonb(new.on_parent_failure)::text, 60)
            using errcode = 'JQ001', column = 'on_parent_failure';
    end if;
    if cardinality(new.depends_on) > 0 then
        new.state := 'blocked';
    elsif new.run_at > dtsched.now() then
        new.state := 'scheduled';
    end if;
    return new;
end $$;

-- Gives a new row that waits for a time or for parents the state that says so. Before-row trigger on jobs; its WHEN clause
-- keeps the ordinary row from calling it at all.
create or replace function dtsched.place_new_job() returns trigger
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if cardinality(new.depends_on) > 0 then
        new.state := 'blocked';
    elsif new.run_at > dtsched.now() then
        new.state := 'scheduled';
    end if;
    return new;
end $$;

-- Notes which transactions have begun by now, so that claims can tell which entries of ready are older than a time (ages).
-- Every ten seconds at most; after two hours one in ten minutes is kept, for 31 days. Safe to run from every worker at once.
create or replace function dtsched.note_age() returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_now timestamptz := dtsched.now();
begin
    if exists (select from dtsched.ages age where age.at > v_now - interval '10 s' and age.at <= v_now) then
        return false;
    end if;
    insert into dtsched.ages (at, xid, kept)
    values (v_now, pg_snapshot_xmax(pg_current_snapshot()),
            not exists (select from dtsched.ages age where age.kept and age.at > v_now - interval '10 minutes'))
    on conflict do nothing;
    delete from dtsched.ages age
    where age.at = any (array(
        select old.at
        from dtsched.ages old
        where old.at < v_now - interval '2 hours' and not old.kept or old.at < v_now - interval '31 days'
        for update skip locked));
    return true;
end $$;

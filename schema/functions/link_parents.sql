-- Links new blocked jobs to their parents at the submitter's commit (deferred row trigger). The first row to get here links every
-- job that the transaction has submitted (route_new_jobs has noted them): linked one by one, their parents' locks would be out of
-- order, and deadlock with those who finish. All other rows find that done; so this has no more settings than that look needs:
-- each is made and undone for each row. Reads blocked_pkey.
create or replace function dtsched.link_parents() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
begin
    if not exists (select from dtsched.blocked waiting where waiting.job_id = new.id) then
        perform dtsched.link_children(new.id);
    end if;
    return null;
end $$;

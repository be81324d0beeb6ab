-- edit() of one job if it still is one of these versions (see job_version), else changed: its row is held while both are looked at, so that
-- nobody changes it between. Tries three times for a row that somebody holds. Locks: the job SKIP LOCKED, then edit()'s.
create or replace function dtsched.edit_expecting(p_id bigint, p_changes jsonb, p_versions text[]) returns text
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_version text;
begin
    for v_try in 1..3 loop
        perform from dtsched.jobs job where job.id = p_id for no key update skip locked;
        if found then
            select dtsched.job_version(p_id) into v_version;
            return case when v_version = any (p_versions) then dtsched.edit(p_id, p_changes) else 'changed' end;
        end if;
        if not exists (select from dtsched.jobs job where job.id = p_id) then
            return 'missing';
        end if;
        perform pg_sleep(0.01 * v_try);
    end loop;
    return 'busy';
end $$;

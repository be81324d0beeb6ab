-- Makes the partitions of jobs that the next 20 million ids will need, 10 million ids each, and returns how many it made.
-- Safe to run from every worker at once; does nothing while another does it. A new table is built aside and attached, which
-- keeps submitters and workers going; rows that ran ahead into the default partition keep their range there.
-- Locks: an advisory lock of the transaction; SHARE UPDATE EXCLUSIVE on jobs and ACCESS EXCLUSIVE on jobs_default. Every claim
-- and finish would queue up behind the latter, so it is waited for a tenth of a second only: the next call tries again.
create or replace function dtsched.ensure_partitions() returns integer
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set lock_timeout = '100ms'
as $$
declare
    c_size constant bigint := 10000000;
    v_current bigint := (select last_value from dtsched.job_id_seq) / c_size;
    v_name text;
    v_made integer := 0;
begin
    if not pg_try_advisory_xact_lock(dtsched.chores_gate(), 1) then
        return 0;
    end if;
    for v_n in v_current..v_current + 2 loop
        v_name := 'jobs_' || v_n;
        continue when to_regclass('dtsched.' || v_name) is not null;
        continue when exists (select from dtsched.jobs_default job where job.id >= v_n * c_size and job.id < (v_n + 1) * c_size);
        execute format('create table dtsched.%I (like dtsched.jobs including defaults including constraints including indexes)
                        with (fillfactor = 40)', v_name);
        execute format('revoke all on type dtsched.%I from public', v_name);  -- as grants.sql has done with all others
        execute format('create trigger route_new_jobs after insert on dtsched.%I referencing new table as new_jobs
                        for each statement execute function dtsched.route_new_jobs()', v_name);
        execute format('alter table dtsched.jobs attach partition dtsched.%I for values from (%L) to (%L)',
                       v_name, v_n * c_size, (v_n + 1) * c_size);
        v_made := v_made + 1;
    end loop;
    return v_made;
exception
    when lock_not_available then
        return 0;
end $$;

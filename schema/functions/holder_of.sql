-- The job that holds a key now; null when nobody does, or only one that has ended and whose time is over. Reads keys_pkey.
create or replace function dtsched.holder_of(p_key text) returns bigint
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select entry.job_id
    from dtsched.keys entry
    where entry.key = p_key
        and (entry.until is null or entry.until > dtsched.now()
             or exists (
                 select from dtsched.jobs job
                 where job.id = entry.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running')))
    limit 1
$$;

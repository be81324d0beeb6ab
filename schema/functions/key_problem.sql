-- The sentence that refuses a job with on_conflict reject: its key is held by the p_entry-th job of its batch, else by the
-- job p_holder. Reads jobs_pkey.
create or replace function dtsched.key_problem(p_key text, p_holder bigint, p_entry integer default null) returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select format('the key %s is held by %s: wait until it is free, or submit with on_conflict keep, replace or supersede',
        dtsched.shown(to_jsonb(p_key)),
        case when p_entry is not null then format('job %s of the batch', p_entry)
             else format('job %s, which %s', p_holder, coalesce((
                 select case when job.state in ('completed', 'failed', 'cancelled') then 'has ended and keeps its key'
                             else 'is ' || job.state end
                 from dtsched.jobs job where job.id = p_holder), 'was there until now')) end)
$$;

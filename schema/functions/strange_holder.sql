-- The sentence that refuses a job whose key is held by a job of a queue that its submitter may not see, whatever on_conflict
-- says: he would be shown that job, or change it. Null when the job is of one of his queues, or gone. Reads jobs_pkey.
create or replace function dtsched.strange_holder(p_key text, p_holder bigint, p_queues text[]) returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select format('the key %s is held by a job of a queue that this API key is not for: use another key',
                  dtsched.shown(to_jsonb(p_key)))
    from dtsched.jobs job
    where job.id = p_holder and job.queue <> all (p_queues)
$$;

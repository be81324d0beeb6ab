-- Names the version of a job that the calling statement sees: the same twice means that nothing of the job has changed between.
-- It is made of where its row is and who wrote it, and not of what is in it, so it tells nobody what that is; a row that is only
-- moved (VACUUM FULL, a dump that is loaded) gets another. Null when there is no such job.
create or replace function dtsched.job_version(p_id bigint) returns text
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select left(encode(sha256(convert_to(concat_ws(' ', job.id, job.xmin, job.ctid, expired.at), 'UTF8')), 'hex'), 32)
    from dtsched.jobs job
    cross join lateral (
        select dtsched.result_expired(  -- a change that nobody writes
            job.state, job.task, job.queue, job.finished_at, job.result_expired_at,
            job.result is not null or exists (select from dtsched.results stored where stored.job_id = job.id))) expired (at)
    where job.id = p_id
$$;

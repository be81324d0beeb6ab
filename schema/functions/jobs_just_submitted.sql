-- What job() says of jobs that this transaction has made, as JSON by id: they have no result yet, and whoever wants one can
-- read it by itself. Reads jobs_pkey. Locks: none.
create or replace function dtsched.jobs_just_submitted(p_ids bigint[]) returns table (id bigint, job json)
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    select shown.id, row_to_json(shown)
    from unnest(p_ids) wanted (id)
    cross join lateral (
        select job.id, job.queue::text, job.task::text, job.args::jsonb, job.state, job.priority::integer,
            job.run_at::timestamptz, job.attempt, job.max_attempts::integer,
            extract(epoch from job.timeout)::double precision as timeout, job.key::text, job.limit_key::text,
            job.depends_on::bigint[], job.tags::text[], null::jsonb as result, job.error, job.progress, job.worker_id,
            job.correlation_id::text, job.created_at, job.started_at, job.finished_at, job.workflow_id,
            job.skipped is true as skipped, job.deadline::timestamptz, dtsched.finite(job.key_until) as key_until,
            null::timestamptz as result_expired_at
        from dtsched.jobs job
        where job.id = wanted.id) shown;
end $$;

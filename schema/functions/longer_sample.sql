-- A sample of at most 10 jobs, as they are now, with those of p_ids that still have room in it. No args: whoever sees an
-- operation may not be one who may see those.
create or replace function dtsched.longer_sample(p_sample jsonb, p_ids bigint[]) returns jsonb
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select p_sample || coalesce((
        select jsonb_agg(jsonb_build_object('id', job.id, 'queue', job.queue, 'task', job.task, 'state', job.state,
                                            'created_at', job.created_at) order by job.id desc)
        from dtsched.jobs job
        where job.id = any (p_ids[:10 - jsonb_array_length(p_sample)])), '[]')
$$;

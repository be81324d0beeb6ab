-- These workflows in figures, newest first; see workflow(). Reads workflows_pkey, jobs_workflow_idx and every job of theirs.
create or replace function dtsched.figures_of_workflows(p_ids bigint[])
returns table (
    id bigint,
    name text,
    state text,
    progress double precision,
    jobs jsonb,
    created_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    cancelled_at timestamptz
)
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select workflow.id, workflow.name,
        case when counted.ended < counted.total then 'running'
             when counted.cancelled > 0 and workflow.cancelled_at is not null then 'cancelled'
             when counted.failed > 0 then 'failed'
             when counted.cancelled > 0 then 'cancelled'
             else 'completed' end,
        case when counted.total = 0 then 1 else counted.ended::double precision / counted.total end,
        jsonb_build_object('total', counted.total, 'blocked', counted.blocked, 'scheduled', counted.scheduled,
                           'ready', counted.ready, 'running', counted.running, 'completed', counted.completed,
                           'failed', counted.failed, 'cancelled', counted.cancelled, 'skipped', counted.skipped),
        workflow.created_at, counted.started_at,
        case when counted.ended = counted.total then counted.finished_at end,
        workflow.cancelled_at
    from dtsched.workflows workflow
    cross join lateral (
        select count(*) as total,
            count(*) filter (where job.state = 'blocked') as blocked,
            count(*) filter (where job.state = 'scheduled') as scheduled,
            count(*) filter (where job.state = 'ready') as ready,
            count(*) filter (where job.state = 'running') as running,
            count(*) filter (where job.state = 'completed') as completed,
            count(*) filter (where job.state = 'failed') as failed,
            count(*) filter (where job.state = 'cancelled' and job.skipped is not true) as cancelled,
            count(*) filter (where job.state = 'cancelled' and job.skipped) as skipped,
            count(*) filter (where job.state in ('completed', 'failed', 'cancelled')) as ended,
            min(job.started_at) as started_at,
            max(job.finished_at) as finished_at
        from dtsched.jobs job
        where job.workflow_id = workflow.id) counted
    where workflow.id = any (p_ids)
    order by workflow.id desc
$$;

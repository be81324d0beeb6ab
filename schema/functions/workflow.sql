-- A workflow in figures, out of its jobs as they are now; no row when there is none. state is running while any job has not
-- ended, then failed, cancelled or completed by what is there of the first of these (after cancel_workflow(): cancelled
-- before failed); jobs counts them in each state, skipped apart from cancelled; progress is the share that has ended, from 0
-- to 1, and 1 without jobs. started_at is when the first of its jobs last started, finished_at when the last one ended.
create or replace function dtsched.workflow(p_id bigint)
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
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select * from dtsched.figures_of_workflows(array[p_id]) $$;

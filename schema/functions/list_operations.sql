-- Operations, newest first, below the id p_before, at most 200; or one. p_queues: only those that were begun for some of these
-- queues, and no others (null: all there are). progress is from 0 to 1, by how far through the ids of the jobs it is.
-- changes and filter hold args. Reads operations_pkey.
create or replace function dtsched.list_operations(
    p_id bigint default null, p_before bigint default null, p_limit integer default 50, p_queues text[] default null)
returns table (
    id bigint,
    action text,
    filter text,
    changes jsonb,
    run_at timestamptz,
    dry_run boolean,
    state text,
    progress double precision,
    matched bigint,
    outcomes jsonb,
    sample jsonb,
    error text,
    queues text[],
    created_by text,
    created_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select operation.id, operation.action, operation.filter, operation.changes, operation.run_at, operation.dry_run,
        operation.state, case when operation.state = 'completed' then 1 else least(0.99,
            (operation.top_id + 1 - operation.next_id)::double precision
            / greatest(1, operation.top_id + 1 - operation.bottom_id)) end,
        operation.matched, operation.outcomes, operation.sample, operation.error, operation.queues, operation.created_by,
        operation.created_at, operation.started_at, operation.finished_at
    from dtsched.operations operation
    where operation.id >= coalesce(p_id, 0)
        and operation.id <= coalesce(p_id, p_before - 1, 9223372036854775807)
        and (p_queues is null or operation.queues <@ p_queues)
    order by operation.id desc
    limit least(p_limit, 200)
$$;

-- Lines of the audit, newest first, below the id p_before, at most 200; of one actor, action, kind or target, and since a
-- time, where those are given. Reads audit_actor_idx, audit_target_idx or audit_pkey.
create or replace function dtsched.list_audit(
    p_actor text default null,
    p_action text default null,
    p_kind text default null,
    p_target text default null,
    p_since timestamptz default null,
    p_before bigint default null,
    p_limit integer default 50
)
returns table (
    id bigint,
    at timestamptz,
    actor text,
    action text,
    kind text,
    target text,
    detail jsonb,
    request_id text
)
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_custom_plan  -- which index is right depends on what is asked for
as $$
#variable_conflict use_column
begin
    return query
    select line.id, line.at, line.actor, line.action, line.kind, line.target, line.detail, line.request_id
    from dtsched.audit line
    where (p_actor is null or line.actor = p_actor)
        and (p_action is null or line.action = p_action)
        and (p_kind is null or line.kind = p_kind)
        and (p_target is null or line.target = p_target)
        and (p_since is null or line.at >= p_since)
        and line.id < coalesce(p_before, 9223372036854775807)
    order by line.id desc
    limit least(p_limit, 200);
end $$;

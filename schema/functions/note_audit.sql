-- Adds a line to the audit, in the transaction of the change that it is about: it is there if and only if that is. p_actor is the name
-- of a key, p_kind and p_target are what was changed; p_detail must hold no args and no secrets. Returns the line's id.
create or replace function dtsched.note_audit(
    p_actor text, p_action text, p_kind text, p_target text default null, p_detail jsonb default '{}', p_request_id text default null)
returns bigint
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    insert into dtsched.audit (actor, action, kind, target, detail, request_id)
    values (p_actor, p_action, p_kind, p_target, coalesce(p_detail, '{}'), p_request_id)
    returning id
$$;

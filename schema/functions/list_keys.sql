-- The API keys, by name and age, without what could be used in their place. queues is null for all queues; state is active, expired
-- or revoked. last_used_at is exact to a minute.
create or replace function dtsched.list_keys()
returns table (
    id text,
    name text,
    scopes text[],
    queues text[],
    created_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    state text
)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select made.id, made.name::text, made.scopes, made.queues, made.created_at, made.expires_at, made.revoked_at,
        made.last_used_at,
        case when made.revoked_at is not null then 'revoked' when made.expires_at <= dtsched.now() then 'expired' else 'active' end
    from dtsched.api_keys made
    order by made.name collate "C", made.created_at, made.id
$$;

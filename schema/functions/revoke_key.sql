-- Ends a key, by its id, or all keys of a name, and returns them. Servers let it in for a second more at most. It stays listed,
-- and a revoked key is never active again. Called twice it changes nothing more. Raises JQ004 when there is none.
-- Locks: the rows of the keys, by id.
create or replace function dtsched.revoke_key(p_key text)
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
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_ids text[];
begin
    v_ids := array(
        select locked.id
        from (select made.id from dtsched.api_keys made where made.id = p_key or made.name = p_key order by made.id for update) locked);
    if v_ids = '{}' then
        raise exception 'there is no key %, nor one of that name: `dtsched key list` has them',
            coalesce(dtsched.shown(to_jsonb(p_key)), 'null') using errcode = 'JQ004';
    end if;
    update dtsched.api_keys made set revoked_at = dtsched.now() where made.id = any (v_ids) and made.revoked_at is null;
    return query select * from dtsched.list_keys() listed where listed.id = any (v_ids);
end $$;

-- Notes an API key: its public id, whom it stands for, the SHA-256 of its secret, what it may (submit, read, read-args,
-- operate, worker, admin), of which queues (null: all), and for how long (null: for ever). The secret is made where it is
-- shown, and does not come here: `dtsched key create` does both. Returns what is kept.
-- Two keys of one name may be active at once, so that one takes the place of the other without a gap. Raises JQ003 for a third
-- one, and for an id that is taken; JQ001 for values that cannot be.
-- Locks: an advisory one on the name, so that of three at once one is refused.
create or replace function dtsched.create_key(
    p_id text,
    p_name text,
    p_digest bytea,
    p_scopes text[],
    p_queues text[] default null,
    p_expires_in interval default null
)
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
    c_gate constant integer := 1146766199;  -- the first half of the advisory locks of names of keys
    v_problem text := dtsched.api_key_problem(p_id, p_name, p_digest, p_scopes, p_queues, p_expires_in);
    v_active text[];
    v_now timestamptz;
begin
    perform dtsched.require_read_committed();
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001', column = split_part(v_problem, ' ', 1);
    end if;
    perform pg_advisory_xact_lock(c_gate, hashtext(p_name));
    v_active := array(
        select listed.id from dtsched.list_keys() listed where listed.name = p_name and listed.state = 'active' order by listed.created_at);
    if cardinality(v_active) >= 2 then
        raise exception '% has % active keys already: revoke one of them first, the oldest is %', dtsched.shown(to_jsonb(p_name)),
            cardinality(v_active), v_active[1] using errcode = 'JQ003';
    end if;
    v_now := dtsched.now();  -- read once: an expiry is counted from the moment that is kept as the creation
    insert into dtsched.api_keys (id, name, digest, scopes, queues, created_at, expires_at)
    values (p_id, p_name, p_digest,
            array(select distinct unnest(p_scopes) order by 1),
            case when p_queues is not null then array(select distinct unnest(p_queues) order by 1) end,
            v_now, v_now + p_expires_in)
    on conflict do nothing;
    if not found then
        raise exception 'there is a key % already: make another one', p_id using errcode = 'JQ003';
    end if;
    return query select * from dtsched.list_keys() listed where listed.id = p_id;
end $$;

-- Whether whoever presents a key may do what needs p_scope to the queue p_queue, to the job p_job, or, with p_whole, to what
-- belongs to no queue. p_id is the public part of the key and p_digest the SHA-256 of its secret; both are null without a key,
-- and then all is allowed where p_keyless says so, as long as no key was ever made. One row:
--
--   verdict ok        name, scopes (with what they include) and queues (null: all) are those of the key
--           unknown   no key, an unknown, expired or revoked one, or a wrong secret: nobody is told which
--           scope     the key does not have the scope
--           missing   the job is not there, or not in a queue of the key's: nobody is told which
--           queue     the queue is not one of the key's
--           whole     the key is for some queues only
--
-- The digests are compared under a salt that is new each time: how long `=` takes says at which byte two values differ, and of
-- salted hashes that byte says nothing. An unknown id takes as long as a wrong secret. A job may move to another queue between
-- this and what is done to it: it was allowed when it was asked.
--
-- Reads api_keys_pkey, and jobs_pkey for keys that are for some queues. Notes the use of a key once a minute. Locks: its row
-- for that, and never waits for it.
create or replace function dtsched.authorize(
    p_id text,
    p_digest bytea,
    p_scope text,
    p_queue text default null,
    p_job bigint default null,
    p_whole boolean default false,
    p_keyless boolean default false
)
returns table (verdict text, name text, scopes text[], queues text[])
language plpgsql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_variable
declare
    c_now constant timestamptz := dtsched.now();
    c_salt constant bytea := uuid_send(gen_random_uuid());
    v_key record;
    v_may text[];
begin
    if p_id is null and p_keyless and not exists (select from dtsched.api_keys) then
        return query select 'ok', null::text, dtsched.scopes_of(array['admin']), null::text[];
        return;
    end if;
    select made.id, made.name, made.digest, made.scopes, made.queues, made.expires_at, made.revoked_at, made.last_used_at
    into v_key
    from dtsched.api_keys made
    where made.id = p_id;
    if sha256(c_salt || coalesce(v_key.digest, sha256(''))) = sha256(c_salt || coalesce(p_digest, ''))
        and v_key.id is not null and v_key.revoked_at is null and (v_key.expires_at is null or v_key.expires_at > c_now)
    then
        if v_key.last_used_at is null or v_key.last_used_at <= c_now - interval '1 minute' then
            update dtsched.api_keys used
            set last_used_at = c_now
            where used.id = (select made.id from dtsched.api_keys made where made.id = v_key.id for update skip locked);
        end if;
        v_may := dtsched.scopes_of(v_key.scopes);
        return query select
            case
                when p_scope <> all (v_may) then 'scope'
                when v_key.queues is null then 'ok'
                when p_job is not null and not exists (
                    select from dtsched.jobs job where job.id = p_job and job.queue = any (v_key.queues)) then 'missing'
                when p_queue <> all (v_key.queues) then 'queue'
                when p_whole then 'whole'
                else 'ok'
            end,
            v_key.name::text, v_may, v_key.queues;
    else
        return query select 'unknown', null::text, '{}'::text[], '{}'::text[];
    end if;
end $$;

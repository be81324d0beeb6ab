-- API keys: who may call the REST API, and what each may. The secret itself is never here, nor passes through here: only its
-- SHA-256 does, which cannot be guessed back, because a secret has 256 random bits.

-- name is whom the key stands for, and whom changes are put down to; two active keys of one name are a rotation. A row stays
-- when its key is revoked or expires: as long as there is one, nobody is let in without a key.
create table dtsched.api_keys (
    id           text collate "C" not null constraint api_keys_pkey primary key
        constraint id_must_be_12_letters_and_digits check (id ~ '^[a-z0-9]{12}$'),
    name         dtsched.name not null,
    digest       bytea not null constraint digest_must_be_a_sha256 check (octet_length(digest) = 32),
    scopes       text[] not null constraint scopes_are_known check (
        cardinality(scopes) > 0 and array_position(scopes, null) is null
        and scopes <@ array['submit', 'read', 'read-args', 'operate', 'worker', 'admin']),
    queues       text[] constraint queues_are_named check (cardinality(queues) > 0 and array_position(queues, null) is null),
    created_at   timestamptz not null default dtsched.now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
) with (fillfactor = 50);
create index api_keys_name_idx on dtsched.api_keys (name);

-- These take another parameter now: the queues of whoever asks.
drop function if exists dtsched.list_queues(text);
drop function if exists dtsched.list_workers(uuid);
drop function if exists dtsched.stats();

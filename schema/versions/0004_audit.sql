-- What was changed over REST, and which keys were made and revoked: by whom, of what, without args and secrets. Lines are
-- added by note_audit() and forgotten by prune_records() after 90 days; nothing changes one.
create table dtsched.audit (
    id         bigint generated always as identity constraint audit_pkey primary key,
    at         timestamptz not null default dtsched.now(),
    actor      text,               -- the name of the key; null: there are no keys
    action     text not null,
    kind       text not null,      -- of the target: job, queue, operation, key, …
    target     text,
    detail     jsonb not null default '{}',
    request_id text
);
create index audit_actor_idx on dtsched.audit (actor, id);
create index audit_target_idx on dtsched.audit (target, id);

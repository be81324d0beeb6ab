-- What a request under an Idempotency-Key was answered, for a day: whoever repeats it gets the same answer.

create table dtsched.idempotency (
    caller text not null,  -- the name of the API key, empty without one
    key text not null,
    digest bytea not null,  -- of the request
    answer json not null,
    until timestamptz not null,
    constraint idempotency_pkey primary key (caller, key)
);
create index idempotency_until_idx on dtsched.idempotency (until);

drop function if exists dtsched.submit_many(jsonb, boolean, boolean);
drop function if exists dtsched.submit_partly(jsonb, boolean, jsonb);
drop function if exists dtsched.take_keys_by_mode(jsonb, text[], bigint[], timestamptz[]);
drop function if exists dtsched.batch_problems(jsonb, boolean, jsonb);
drop function if exists dtsched.problems_by_number(jsonb, boolean, jsonb);
drop function if exists dtsched.refuse_batch(jsonb, boolean);

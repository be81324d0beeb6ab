-- Workers that speak HTTP. A server acts for them, and each proves that a lease is its own by the lease's secret.

-- owner: the name of the API key that it was registered with, null without keys.
alter table dtsched.workers
    add column over_http boolean not null default false,
    add column owner text;

-- That a lease was finished, with which body and to what effect: a worker that did not hear the answer asks again.
create table dtsched.receipts (
    lease_id  bigint not null constraint receipts_pkey primary key,
    worker_id uuid not null,
    secret    bytea not null,
    body      bytea not null,
    state     text not null,
    at        timestamptz not null default dtsched.now()
);
create index receipts_at_idx on dtsched.receipts (at);

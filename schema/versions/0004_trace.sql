-- Written only while dtsched.trace(true), beside job_events and counted with it: by id, the events of all three are in the
-- order in which they happened, whatever the clock did meanwhile.

-- who: the function that was called, null for a plain statement. run_at: of the job, as the statement left it.
alter table dtsched.job_events
    add column who text,
    add column run_at timestamptz;

-- Every lease that came or went. What was known of its worker then says whether it might be taken:
-- worker_expires_at and worker_lost_at, or null: it has no row any more.
create table dtsched.lease_events (
    id                bigint not null default nextval('dtsched.job_events_id_seq') constraint lease_events_pkey primary key,
    kind              text not null constraint lease_event_is_known check (kind in ('granted', 'released')),
    lease_id          bigint not null,
    job_id            bigint not null,
    worker_id         uuid not null,
    limit_key         text,
    queue             text,
    deadline          timestamptz,
    cancel_requested  boolean not null,
    gave_up_key       boolean not null,
    worker_expires_at timestamptz,
    worker_lost_at    timestamptz,
    who               text,
    at                timestamptz not null default clock_timestamp(),
    xid               xid8 not null default pg_current_xact_id()
);

-- Every change of until when a worker's leases are valid, with how many slots it has then.
create table dtsched.worker_events (
    id         bigint not null default nextval('dtsched.job_events_id_seq') constraint worker_events_pkey primary key,
    kind       text not null constraint worker_event_is_known check (kind in ('registered', 'renewed', 'lost', 'gone')),
    worker_id  uuid not null,
    slots      integer not null,
    lease      interval not null,
    expires_at timestamptz not null,
    lost_at    timestamptz,
    who        text,
    at         timestamptz not null default clock_timestamp(),
    xid        xid8 not null default pg_current_xact_id()
);

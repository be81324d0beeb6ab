-- What handlers remember from attempt to attempt, and the events that they wait for.

-- Insert-only but for waits: the result of a step is written once. state: done; waiting (a sleep or an event, until `until`);
-- timeout (the event did not come).
create table dtsched.steps (
    job_id    bigint not null,
    name      dtsched.key not null,
    kind      text not null constraint kind_is_known check (kind in ('step', 'sleep', 'event')),
    state     text not null constraint state_is_known check (state in ('done', 'waiting', 'timeout')),
    result    jsonb,
    event     dtsched.key,
    until     timestamptz,
    attempt   integer not null,
    worker_id uuid not null,
    begun_at  timestamptz not null default dtsched.now(),
    ended_at  timestamptz,
    constraint steps_pkey primary key (job_id, name)
);

-- The first emit of a name wins. due: some who wait could not be woken with it, and deliver_events() has to.
create table dtsched.events (
    name       dtsched.key not null constraint events_pkey primary key,
    payload    jsonb not null,
    due        boolean not null default false,
    emitted_at timestamptz not null default dtsched.now()
);
create index events_due_idx on dtsched.events (name) where due;
create index events_emitted_idx on dtsched.events (emitted_at);

-- Who has asked for an event that had not come. woken_at: nobody need wake this job for it any more.
create table dtsched.event_waits (
    event    dtsched.key not null,
    job_id   bigint not null,
    step     dtsched.key not null,
    woken_at timestamptz,
    constraint event_waits_pkey primary key (event, job_id)
);
create index event_waits_job_idx on dtsched.event_waits (job_id);

-- The tables of dtsched. Functions, triggers and grants live in files of their own and are laid anew at each `migrate up`.
--
-- jobs says everything about a job and is updated in place: no index on any column that changes (not even in a partial
-- index's predicate), or updates stop being HOT. ready, scheduled, blocked, parked and leases are narrow tables that say
-- where a job is. There are no foreign keys here (multixacts, cost): dtsched.check() verifies what they would.

-- Domains, not CHECKs, guard what a submitter sets: a domain is checked when a value comes in, a CHECK at every update.
-- ({1,128} in the pattern would cost 4 us a value, measured; this costs 0.1)
create domain dtsched.name as text
    constraint name_must_be_1_to_128_of_letters_digits_dot_underscore_colon
        check (value ~ '^[A-Za-z0-9._:-]+$' and octet_length(value) <= 128);
create domain dtsched.priority as smallint
    constraint priority_must_be_1_to_10 check (value between 1 and 10);
create domain dtsched.job_args as jsonb
    constraint args_must_be_an_object check (jsonb_typeof(value) = 'object')
    constraint args_must_be_at_most_1_mib_as_text check (octet_length(value::text) <= 1048576);
create domain dtsched.instant as timestamptz
    constraint time_must_be_finite_from_1970_to_9999 check (value >= '1970-01-01 00:00Z' and value < '10000-01-01 00:00Z');
create domain dtsched.max_attempts as integer
    constraint max_attempts_must_be_1_to_1000 check (value between 1 and 1000);
create domain dtsched.timeout as interval
    constraint timeout_must_be_over_0_and_at_most_366_days check (value > interval '0' and value <= interval '366 days');
create domain dtsched.key as text
    constraint key_must_be_1_to_255_characters_without_control_characters
        check (char_length(value) between 1 and 255 and value !~ '[\u0001-\u001f\u007f]');
create domain dtsched.tags as text[]
    constraint tags_must_be_at_most_20_of_1_to_64_characters
        check (cardinality(value) <= 20 and not ('' = any (value)) and array_position(value, null) is null
               and char_length(array_to_string(value, '')) <= 20 * 64);
create domain dtsched.parents as bigint[]
    constraint depends_on_must_be_at_most_100000_ids
        check (cardinality(value) <= 100000 and array_position(value, null) is null);
create domain dtsched.correlation_id as text
    constraint correlation_id_must_be_1_to_128_characters check (char_length(value) between 1 and 128);

create sequence dtsched.job_id_seq as bigint cache 1;

create table dtsched.jobs (
    id             bigint not null default nextval('dtsched.job_id_seq'),
    queue          dtsched.name not null default 'default',
    task           dtsched.name not null,
    args           dtsched.job_args not null default '{}',
    state          text not null default 'ready',
    priority       dtsched.priority not null default 5,
    run_at         dtsched.instant,
    attempt        integer not null default 0,
    max_attempts   dtsched.max_attempts not null default 5,
    timeout        dtsched.timeout,
    key            dtsched.key,
    limit_key      dtsched.key,
    depends_on     dtsched.parents,
    tags           dtsched.tags not null default '{}',
    result         jsonb,
    error          text,
    progress       jsonb,
    worker_id      uuid,
    created_at     timestamptz not null default dtsched.now(),
    started_at     timestamptz,
    finished_at    timestamptz,
    backoff        jsonb,
    deadline       dtsched.instant,
    correlation_id dtsched.correlation_id,
    workflow_id    bigint,
    crash_count    smallint not null default 0,
    constraint jobs_pkey primary key (id),
    constraint state_is_known
        check (state in ('ready', 'running', 'completed', 'scheduled', 'failed', 'blocked', 'cancelled'))
) partition by range (id);

-- Few and large: 100 partitions cost a fifth of the claim rate, 10 cost nothing.
create table dtsched.jobs_default partition of dtsched.jobs default with (fillfactor = 40);

-- Results over about 300 bytes would spoil HOT updates of jobs.
create table dtsched.results (
    job_id bigint not null constraint results_pkey primary key,
    result jsonb not null
);

-- The claimable jobs and nothing else. An entry is never updated, only deleted and inserted anew.
create table dtsched.ready (
    queue    text not null,
    priority smallint not null,
    xid      xid8 not null default pg_current_xact_id(),
    job_id   bigint not null,
    constraint ready_pkey primary key (queue, priority, xid, job_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        vacuum_truncate = off);

-- Future jobs, retries and snoozes. xid lets a promoter find what was committed late without walking from the start.
create table dtsched.scheduled (
    run_at timestamptz not null,
    job_id bigint not null,
    xid    xid8 not null default pg_current_xact_id(),
    constraint scheduled_pkey primary key (run_at, job_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        vacuum_truncate = off);
create index scheduled_xid_idx on dtsched.scheduled (xid);

create table dtsched.blocked (
    job_id  bigint not null constraint blocked_pkey primary key,
    waiting integer not null constraint waiting_is_positive check (waiting >= 0)
) with (fillfactor = 50);

create table dtsched.dependencies (
    parent_id  bigint not null,
    child_id   bigint not null,
    on_failure text not null default 'cancel' constraint on_failure_is_known check (on_failure in ('cancel', 'run', 'skip')),
    constraint dependencies_pkey primary key (parent_id, child_id)
);

-- Jobs that are ready but may not be claimed now: their limit has no free seat, their bucket is empty, or no worker that
-- met them knows their task.
create table dtsched.parked (
    job_id    bigint not null constraint parked_pkey primary key,
    reason    text not null constraint reason_is_known check (reason in ('limit', 'rate', 'task')),
    queue     text not null,
    priority  smallint not null,
    task      text not null,
    limit_key text
);
create index parked_task_idx on dtsched.parked (queue, task, priority desc, job_id) where reason = 'task';
create index parked_limit_idx on dtsched.parked (limit_key, priority desc, job_id) where limit_key is not null;

create table dtsched.keys (
    key    text not null constraint keys_pkey primary key,
    job_id bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- One row per running attempt: the right to finish it. Ids are never reused.
create sequence dtsched.lease_id_seq as bigint;
create table dtsched.leases (
    id                  bigint not null constraint leases_pkey primary key,
    job_id              bigint not null,
    worker_id           uuid not null,
    limit_key           text,
    deadline            timestamptz,
    cancel_requested_at timestamptz,
    secret              bytea
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
create index leases_worker_idx on dtsched.leases (worker_id, job_id);
create index leases_cancel_idx on dtsched.leases (worker_id) where cancel_requested_at is not null;

create table dtsched.workers (
    id             uuid not null constraint workers_pkey primary key,
    name           text not null,
    queues         text[] not null,
    tasks          text[],
    slots          integer not null,
    labels         jsonb not null default '{}',
    info           jsonb not null default '{}',
    lease          interval not null constraint lease_is_at_least_half_a_second check (lease >= interval '0.5 s'),
    started_at     timestamptz not null default dtsched.now(),
    expires_at     timestamptz not null,
    unbroken_since timestamptz not null,
    lost_at        timestamptz,
    draining       boolean not null default false
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

create table dtsched.queues (
    name       dtsched.name not null constraint queues_pkey primary key,
    paused_at  timestamptz,
    settings   jsonb not null default '{}',
    created_at timestamptz not null default dtsched.now()
);

-- The tasks that some worker has ever declared; submit() refuses others, a plain INSERT is parked until one knows it.
create table dtsched.tasks (
    name        dtsched.name not null constraint tasks_pkey primary key,
    args_schema jsonb,
    declared_at timestamptz not null default dtsched.now()
);

-- Attempts that did not simply succeed.
create table dtsched.attempts (
    job_id      bigint not null,
    attempt     integer not null,
    lease_id    bigint not null,
    worker_id   uuid,
    outcome     text not null,
    error_type  text,
    message     text,
    traceback   text,
    started_at  timestamptz,
    finished_at timestamptz not null default dtsched.now(),
    constraint attempts_pkey primary key (job_id, lease_id)
);

-- Written only while dtsched.trace(true): every change of a job's state, in the statement that makes it.
create table dtsched.job_events (
    id         bigint generated always as identity constraint job_events_pkey primary key,
    job_id     bigint not null,
    from_state text,
    to_state   text,
    attempt    integer not null,
    worker_id  uuid,
    at         timestamptz not null default clock_timestamp(),
    xid        xid8 not null default pg_current_xact_id()
);

-- What is laid in the database: the contract that programs check, and a digest of the functions' source.
create table dtsched.installed (
    one             boolean not null default true constraint installed_pkey primary key constraint one_row check (one),
    contract        integer not null,
    functions_digest text not null,
    at              timestamptz not null default now()
);

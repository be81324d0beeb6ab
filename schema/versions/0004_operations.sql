-- Bulk operations: an action over all jobs that fit a filter, taken in chunks by whoever comes by (see step_operation).
create table dtsched.operations (
    id          bigint generated always as identity constraint operations_pkey primary key,
    action      text not null
        constraint action_is_known check (action in ('cancel', 'retry', 'delete', 'edit', 'run-now', 'reschedule')),
    filter      text not null,          -- as it was written
    wanted      jsonb not null,         -- what find_jobs() takes, with its times fixed and the caller's queues in it
    queues      text[],                 -- those that the caller was for; null: all
    changes     jsonb,
    run_at      timestamptz,
    dry_run     boolean not null,
    state       text not null default 'pending'
        constraint operation_state_is_known check (state in ('pending', 'running', 'completed', 'cancelled', 'failed')),
    top_id      bigint not null,        -- jobs above were submitted later
    bottom_id   bigint not null,        -- none was below
    next_id     bigint not null,        -- the jobs from here on have been met, in round 0
    round       integer not null default 0,
    settled     bigint not null default 0,      -- jobs that this round has decided on
    next_at     timestamptz not null default dtsched.now(),
    stepped_at  timestamptz not null default dtsched.now(),
    matched     bigint not null default 0,
    outcomes    jsonb not null default '{}',
    sample      jsonb not null default '[]',
    error       text,
    created_by  text,
    created_at  timestamptz not null default dtsched.now(),
    started_at  timestamptz,
    finished_at timestamptz
) with (fillfactor = 50);
create index operations_unfinished_idx on dtsched.operations (id) where state in ('pending', 'running');

-- Jobs that an operation could not decide on when it met them: it comes back to them in rounds.
create table dtsched.operation_leftovers (
    operation_id bigint not null,
    round        integer not null,
    job_id       bigint not null,
    outcome      text not null,
    constraint operation_leftovers_pkey primary key (operation_id, round, job_id)
);

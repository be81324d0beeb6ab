-- Schedules, and what became of each of their ticks.

-- What a schedule is in force with, and where it stands. What is null of a job's options is the default of a submission.
-- version is new with every change of the definition, and never the same twice: a process that computed times from another
-- definition finds that out when it fires. Ticks at or before since belong to no definition in force. next_at null is "to be
-- computed", infinity "never again". declared is what running code has said last, whatever was changed here since.
create sequence dtsched.schedule_version_seq as bigint;
create table dtsched.schedules (
    name            dtsched.name not null constraint schedules_pkey primary key,
    spec            text not null,
    tz              text not null default 'UTC',
    task            dtsched.name not null,
    args            dtsched.job_args not null default '{}',
    queue           dtsched.name,
    priority        dtsched.priority,
    max_attempts    dtsched.max_attempts,
    timeout         dtsched.timeout,
    limit_key       dtsched.key,
    tags            dtsched.tags,
    backoff         jsonb,
    catchup         text not null default 'latest'
        constraint catchup_is_known check (catchup in ('skip', 'latest', 'all')),
    catchup_limit   integer not null default 100
        constraint catchup_limit_must_be_1_to_1000 check (catchup_limit between 1 and 1000),
    overlap         text not null default 'allow'
        constraint overlap_is_known check (overlap in ('allow', 'skip', 'cancel')),
    tolerance       interval not null default '1 minute'
        constraint tolerance_must_be_0_to_366_days check (tolerance >= interval '0' and tolerance <= interval '366 days'),
    paused_at       timestamptz,
    problem         text,
    version         bigint not null default nextval('dtsched.schedule_version_seq'),
    since           timestamptz not null default dtsched.now(),
    next_at         timestamptz,
    last_tick       timestamptz,
    last_job_id     bigint,
    declared        jsonb,
    declared_at     timestamptz,
    declared_before text[] not null default '{}',
    created_at      timestamptz not null default dtsched.now(),
    updated_at      timestamptz not null default dtsched.now()
);
create index schedules_due_idx on dtsched.schedules (next_at nulls first) where paused_at is null and problem is null;

-- Each tick of each schedule once, whoever fires it. No foreign key: a tick outlives its schedule, or one of the same name
-- could fire it again.
create table dtsched.ticks (
    schedule text not null,
    tick     timestamptz not null,
    outcome  text not null constraint outcome_is_known check (outcome in ('fired', 'skipped', 'missed')),
    job_id   bigint constraint a_fired_tick_has_a_job check ((job_id is not null) = (outcome = 'fired')),
    at       timestamptz not null default dtsched.now(),
    constraint ticks_pkey primary key (schedule, tick)
);
create index ticks_at_idx on dtsched.ticks (at);

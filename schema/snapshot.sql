-- What `dtsched migrate up` lays, read back from the catalogue; a test keeps it true.
-- Renew it with: python -m tests.support.snapshot

create domain dtsched.correlation_id as text
    constraint correlation_id_must_be_1_to_128_characters CHECK (((char_length(VALUE) >= 1) AND (char_length(VALUE) <= 128)));
create domain dtsched.instant as timestamp with time zone
    constraint time_must_be_finite_from_1970_to_9999 CHECK (((VALUE >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (VALUE < '10000-01-01 00:00:00+00'::timestamp with time zone)));
create domain dtsched.job_args as jsonb
    constraint args_must_be_an_object CHECK ((jsonb_typeof(VALUE) = 'object'::text))
    constraint args_must_be_at_most_1_mib_as_text CHECK ((octet_length((VALUE)::text) <= 1048576));
create domain dtsched.key as text
    constraint key_must_be_1_to_255_characters_without_control_characters CHECK ((((char_length(VALUE) >= 1) AND (char_length(VALUE) <= 255)) AND (VALUE !~ '[\u0001-\u001f\u007f]'::text)));
create domain dtsched.max_attempts as integer
    constraint max_attempts_must_be_1_to_1000 CHECK (((VALUE >= 1) AND (VALUE <= 1000)));
create domain dtsched.name as text
    constraint name_must_be_1_to_128_of_letters_digits_dot_underscore_colon CHECK (((VALUE ~ '^[A-Za-z0-9._:-]+$'::text) AND (octet_length(VALUE) <= 128)));
create domain dtsched.parents as bigint[]
    constraint depends_on_must_be_at_most_100000_ids CHECK (((cardinality(VALUE) <= 100000) AND (array_position(VALUE, NULL::bigint) IS NULL)));
create domain dtsched.priority as smallint
    constraint priority_must_be_1_to_10 CHECK (((VALUE >= 1) AND (VALUE <= 10)));
create domain dtsched.tags as text[]
    constraint tags_must_be_at_most_20_of_1_to_64_characters CHECK (((cardinality(VALUE) <= 20) AND (NOT (''::text = ANY (VALUE))) AND (array_position(VALUE, NULL::text) IS NULL) AND (char_length(array_to_string(VALUE, ''::text)) <= (20 * 64))));
create domain dtsched.timeout as interval
    constraint timeout_must_be_over_0_and_at_most_366_days CHECK (((VALUE > '00:00:00'::interval) AND (VALUE <= '366 days'::interval)));

create sequence dtsched.audit_id_seq as bigint cache 1;
create sequence dtsched.feed_id_seq as bigint cache 1;
create sequence dtsched.job_events_id_seq as bigint cache 1;
create sequence dtsched.job_id_seq as bigint cache 1;
create sequence dtsched.lease_id_seq as bigint cache 1;
create sequence dtsched.operations_id_seq as bigint cache 1;
create sequence dtsched.schedule_version_seq as bigint cache 1;
create sequence dtsched.unlinked_n_seq as bigint cache 1;
create sequence dtsched.wakes_id_seq as bigint cache 1;
create sequence dtsched.workflow_id_seq as bigint cache 1;

create table dtsched.ages (
    at timestamp with time zone not null,
    xid xid8 not null,
    kept boolean not null,
    constraint ages_pkey PRIMARY KEY (at)
) with ();
create table dtsched.api_keys (
    id text not null,
    name dtsched.name not null,
    digest bytea not null,
    scopes text[] not null,
    queues text[],
    created_at timestamp with time zone default dtsched.now() not null,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    constraint api_keys_pkey PRIMARY KEY (id),
    constraint digest_must_be_a_sha256 CHECK ((octet_length(digest) = 32)),
    constraint id_must_be_12_letters_and_digits CHECK ((id ~ '^[a-z0-9]{12}$'::text)),
    constraint queues_are_named CHECK (((cardinality(queues) > 0) AND (array_position(queues, NULL::text) IS NULL))),
    constraint scopes_are_known CHECK (((cardinality(scopes) > 0) AND (array_position(scopes, NULL::text) IS NULL) AND (scopes <@ ARRAY['submit'::text, 'read'::text, 'read-args'::text, 'operate'::text, 'worker'::text, 'admin'::text])))
) with (fillfactor=50);
create table dtsched.attempts (
    job_id bigint not null,
    attempt integer not null,
    lease_id bigint not null,
    worker_id uuid,
    outcome text not null,
    error_type text,
    message text,
    traceback text,
    started_at timestamp with time zone,
    finished_at timestamp with time zone default dtsched.now() not null,
    constraint attempts_pkey PRIMARY KEY (job_id, lease_id)
) with ();
create table dtsched.audit (
    id bigint generated always as identity not null,
    at timestamp with time zone default dtsched.now() not null,
    actor text,
    action text not null,
    kind text not null,
    target text,
    detail jsonb default '{}'::jsonb not null,
    request_id text,
    constraint audit_pkey PRIMARY KEY (id)
) with ();
create table dtsched.blocked (
    job_id bigint not null,
    waiting integer not null,
    queue text,
    constraint blocked_pkey PRIMARY KEY (job_id),
    constraint waiting_is_positive CHECK ((waiting >= 0))
) with (fillfactor=50);
create table dtsched.cancelled_by (
    parent_id bigint not null,
    child_id bigint not null,
    constraint cancelled_by_pkey PRIMARY KEY (parent_id, child_id)
) with ();
create table dtsched.cursors (
    queue text not null,
    cursor text not null,
    server_started_at timestamp with time zone not null,
    kept_at timestamp with time zone default clock_timestamp() not null,
    constraint cursors_pkey PRIMARY KEY (queue)
) with ();
create table dtsched.deadlines (
    deadline timestamp with time zone not null,
    job_id bigint not null,
    constraint deadlines_pkey PRIMARY KEY (deadline, job_id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);
create table dtsched.dependencies (
    parent_id bigint not null,
    child_id bigint not null,
    on_failure text default 'cancel'::text not null,
    constraint dependencies_pkey PRIMARY KEY (parent_id, child_id),
    constraint on_failure_is_known CHECK ((on_failure = ANY (ARRAY['cancel'::text, 'run'::text, 'skip'::text])))
) with ();
create table dtsched.event_waits (
    event dtsched.key not null,
    job_id bigint not null,
    step dtsched.key not null,
    woken_at timestamp with time zone,
    constraint event_waits_pkey PRIMARY KEY (event, job_id)
) with ();
create table dtsched.events (
    name dtsched.key not null,
    payload jsonb not null,
    due boolean default false not null,
    emitted_at timestamp with time zone default dtsched.now() not null,
    constraint events_pkey PRIMARY KEY (name)
) with ();
create table dtsched.feed (
    xid xid8 default pg_current_xact_id() not null,
    id bigint generated always as identity not null,
    at timestamp with time zone default dtsched.now() not null,
    event text not null,
    job_id bigint not null,
    queue text not null,
    task text not null,
    state text not null,
    attempt integer not null,
    constraint feed_pkey PRIMARY KEY (xid, id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, vacuum_truncate=off);
create table dtsched.feed_watch (
    only_one boolean default true not null,
    epoch text not null,
    since xid8 not null,
    pruned pg_snapshot,
    marks pg_snapshot[] default '{}'::pg_snapshot[] not null,
    marked_at timestamp with time zone[] default '{}'::timestamp with time zone[] not null,
    constraint feed_watch_is_one CHECK (only_one),
    constraint feed_watch_pkey PRIMARY KEY (only_one)
) with ();
create table dtsched.idempotency (
    caller text not null,
    key text not null,
    digest bytea not null,
    answer json not null,
    until timestamp with time zone not null,
    constraint idempotency_pkey PRIMARY KEY (caller, key)
) with ();
create table dtsched.installed (
    one boolean default true not null,
    contract integer not null,
    functions_digest text not null,
    at timestamp with time zone default now() not null,
    constraint installed_pkey PRIMARY KEY (one),
    constraint one_row CHECK (one)
) with ();
create table dtsched.job_events (
    id bigint generated always as identity not null,
    job_id bigint not null,
    from_state text,
    to_state text,
    attempt integer not null,
    worker_id uuid,
    at timestamp with time zone default clock_timestamp() not null,
    xid xid8 default pg_current_xact_id() not null,
    who text,
    run_at timestamp with time zone,
    constraint job_events_pkey PRIMARY KEY (id)
) with ();
create table dtsched.job_logs (
    job_id bigint not null,
    line integer not null,
    attempt integer not null,
    lease_id bigint not null,
    seq integer,
    at timestamp with time zone not null,
    level text not null,
    logger text,
    message text not null,
    constraint job_logs_pkey PRIMARY KEY (job_id, line),
    constraint level_is_known CHECK ((level = ANY (ARRAY['debug'::text, 'info'::text, 'warning'::text, 'error'::text, 'critical'::text]))),
    constraint line_is_1_to_10000 CHECK (((line >= 1) AND (line <= 10000)))
) with ();
create table dtsched.jobs (
    id bigint default nextval('dtsched.job_id_seq'::regclass) not null,
    queue dtsched.name default 'default'::text not null,
    task dtsched.name not null,
    args dtsched.job_args default '{}'::jsonb not null,
    state text default 'ready'::text not null,
    priority dtsched.priority default 5 not null,
    run_at dtsched.instant,
    attempt integer default 0 not null,
    max_attempts dtsched.max_attempts default 5 not null,
    timeout dtsched.timeout,
    key dtsched.key,
    limit_key dtsched.key,
    depends_on dtsched.parents,
    tags dtsched.tags default '{}'::text[] not null,
    result jsonb,
    error text,
    progress jsonb,
    worker_id uuid,
    created_at timestamp with time zone default dtsched.now() not null,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    backoff jsonb,
    deadline dtsched.instant,
    correlation_id dtsched.correlation_id,
    workflow_id bigint,
    crash_count smallint default 0 not null,
    on_parent_failure text,
    parent_policies text[],
    skipped boolean,
    key_until timestamp with time zone,
    result_expired_at timestamp with time zone,
    constraint jobs_pkey PRIMARY KEY (id),
    constraint state_is_known CHECK ((state = ANY (ARRAY['ready'::text, 'running'::text, 'completed'::text, 'scheduled'::text, 'failed'::text, 'blocked'::text, 'cancelled'::text])))
) partition by RANGE (id) with ();
create table dtsched.keys (
    key text not null,
    job_id bigint not null,
    until timestamp with time zone,
    constraint keys_pkey PRIMARY KEY (key)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);
create table dtsched.lease_epoch (
    one boolean default true not null,
    server_started_at timestamp with time zone not null,
    ids oid not null,
    constraint lease_epoch_pkey PRIMARY KEY (one),
    constraint one_lease_epoch CHECK (one)
) with ();
create table dtsched.lease_events (
    id bigint default nextval('dtsched.job_events_id_seq'::regclass) not null,
    kind text not null,
    lease_id bigint not null,
    job_id bigint not null,
    worker_id uuid not null,
    limit_key text,
    queue text,
    deadline timestamp with time zone,
    cancel_requested boolean not null,
    gave_up_key boolean not null,
    worker_expires_at timestamp with time zone,
    worker_lost_at timestamp with time zone,
    who text,
    at timestamp with time zone default clock_timestamp() not null,
    xid xid8 default pg_current_xact_id() not null,
    constraint lease_event_is_known CHECK ((kind = ANY (ARRAY['granted'::text, 'released'::text]))),
    constraint lease_events_pkey PRIMARY KEY (id)
) with ();
create table dtsched.leases (
    id bigint not null,
    job_id bigint not null,
    worker_id uuid not null,
    limit_key text,
    deadline timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    secret bytea,
    gave_up_key boolean default false not null,
    queue text,
    counted boolean default true not null,
    constraint leases_pkey PRIMARY KEY (id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, fillfactor=90, vacuum_truncate=off);
create table dtsched.limits (
    limit_key text not null,
    concurrency integer,
    rate double precision,
    burst integer,
    tokens double precision,
    refilled_at timestamp with time zone,
    failed_at timestamp with time zone[] default '{}'::timestamp with time zone[] not null,
    open_until timestamp with time zone,
    probe_id bigint,
    constraint burst_is_positive CHECK ((burst > 0)),
    constraint concurrency_is_not_negative CHECK ((concurrency >= 0)),
    constraint limits_pkey PRIMARY KEY (limit_key),
    constraint rate_is_positive CHECK ((rate > (0)::double precision))
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, fillfactor=70);
create table dtsched.operation_leftovers (
    operation_id bigint not null,
    round integer not null,
    job_id bigint not null,
    outcome text not null,
    constraint operation_leftovers_pkey PRIMARY KEY (operation_id, round, job_id)
) with ();
create table dtsched.operations (
    id bigint generated always as identity not null,
    action text not null,
    filter text not null,
    wanted jsonb not null,
    queues text[],
    changes jsonb,
    run_at timestamp with time zone,
    dry_run boolean not null,
    state text default 'pending'::text not null,
    top_id bigint not null,
    bottom_id bigint not null,
    next_id bigint not null,
    round integer default 0 not null,
    settled bigint default 0 not null,
    next_at timestamp with time zone default dtsched.now() not null,
    stepped_at timestamp with time zone default dtsched.now() not null,
    matched bigint default 0 not null,
    outcomes jsonb default '{}'::jsonb not null,
    sample jsonb default '[]'::jsonb not null,
    error text,
    created_by text,
    created_at timestamp with time zone default dtsched.now() not null,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    constraint action_is_known CHECK ((action = ANY (ARRAY['cancel'::text, 'retry'::text, 'delete'::text, 'edit'::text, 'run-now'::text, 'reschedule'::text]))),
    constraint operation_state_is_known CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'completed'::text, 'cancelled'::text, 'failed'::text]))),
    constraint operations_pkey PRIMARY KEY (id)
) with (fillfactor=50);
create table dtsched.parked (
    job_id bigint not null,
    reason text not null,
    queue text not null,
    priority smallint not null,
    task text not null,
    limit_key text,
    constraint parked_pkey PRIMARY KEY (job_id),
    constraint reason_is_known CHECK ((reason = ANY (ARRAY['limit'::text, 'task'::text])))
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, vacuum_truncate=off);
create table dtsched.prunable (
    chunk bigint not null,
    due_at timestamp with time zone default '-infinity'::timestamp with time zone not null,
    closed_at timestamp with time zone,
    constraint prunable_pkey PRIMARY KEY (chunk)
) with (fillfactor=50);
create table dtsched.pruning (
    one boolean default true not null,
    retention jsonb default '{}'::jsonb not null,
    rules text default ''::text not null,
    constraint one_row CHECK (one),
    constraint pruning_pkey PRIMARY KEY (one)
) with ();
create table dtsched.queues (
    name dtsched.name not null,
    paused_at timestamp with time zone,
    settings jsonb default '{}'::jsonb not null,
    created_at timestamp with time zone default dtsched.now() not null,
    tokens double precision,
    refilled_at timestamp with time zone,
    failed_at timestamp with time zone[] default '{}'::timestamp with time zone[] not null,
    open_until timestamp with time zone,
    probe_id bigint,
    uncounted bigint[] default '{}'::bigint[] not null,
    constraint queues_pkey PRIMARY KEY (name)
) with ();
create table dtsched.ready (
    queue text not null,
    priority smallint not null,
    xid xid8 default pg_current_xact_id() not null,
    job_id bigint not null,
    limit_key text,
    constraint ready_pkey PRIMARY KEY (queue, priority, xid, job_id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, vacuum_truncate=off);
create table dtsched.receipts (
    lease_id bigint not null,
    worker_id uuid not null,
    secret bytea not null,
    body bytea not null,
    state text not null,
    at timestamp with time zone default dtsched.now() not null,
    constraint receipts_pkey PRIMARY KEY (lease_id)
) with ();
create table dtsched.results (
    job_id bigint not null,
    result jsonb not null,
    constraint results_pkey PRIMARY KEY (job_id)
) with ();
create table dtsched.scheduled (
    run_at timestamp with time zone not null,
    job_id bigint not null,
    xid xid8 default pg_current_xact_id() not null,
    queue text,
    constraint scheduled_pkey PRIMARY KEY (run_at, job_id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, vacuum_truncate=off);
create table dtsched.schedules (
    name dtsched.name not null,
    spec text not null,
    tz text default 'UTC'::text not null,
    task dtsched.name not null,
    args dtsched.job_args default '{}'::jsonb not null,
    queue dtsched.name,
    priority dtsched.priority,
    max_attempts dtsched.max_attempts,
    timeout dtsched.timeout,
    limit_key dtsched.key,
    tags dtsched.tags,
    backoff jsonb,
    catchup text default 'latest'::text not null,
    catchup_limit integer default 100 not null,
    overlap text default 'allow'::text not null,
    tolerance interval default '00:01:00'::interval not null,
    paused_at timestamp with time zone,
    problem text,
    version bigint default nextval('dtsched.schedule_version_seq'::regclass) not null,
    since timestamp with time zone default dtsched.now() not null,
    next_at timestamp with time zone,
    last_tick timestamp with time zone,
    last_job_id bigint,
    declared jsonb,
    declared_at timestamp with time zone,
    declared_before text[] default '{}'::text[] not null,
    created_at timestamp with time zone default dtsched.now() not null,
    updated_at timestamp with time zone default dtsched.now() not null,
    constraint catchup_is_known CHECK ((catchup = ANY (ARRAY['skip'::text, 'latest'::text, 'all'::text]))),
    constraint catchup_limit_must_be_1_to_1000 CHECK (((catchup_limit >= 1) AND (catchup_limit <= 1000))),
    constraint overlap_is_known CHECK ((overlap = ANY (ARRAY['allow'::text, 'skip'::text, 'cancel'::text]))),
    constraint schedules_pkey PRIMARY KEY (name),
    constraint tolerance_must_be_0_to_366_days CHECK (((tolerance >= '00:00:00'::interval) AND (tolerance <= '366 days'::interval)))
) with ();
create table dtsched.stats_1m (
    minute timestamp with time zone not null,
    queue text not null,
    task text not null,
    event text not null,
    wait_bucket smallint not null,
    run_bucket smallint not null,
    jobs bigint not null,
    wait_seconds double precision not null,
    run_seconds double precision not null,
    constraint stats_1m_pkey PRIMARY KEY (minute, queue, task, event, wait_bucket, run_bucket)
) with ();
create table dtsched.steps (
    job_id bigint not null,
    name dtsched.key not null,
    kind text not null,
    state text not null,
    result jsonb,
    event dtsched.key,
    until timestamp with time zone,
    attempt integer not null,
    worker_id uuid not null,
    begun_at timestamp with time zone default dtsched.now() not null,
    ended_at timestamp with time zone,
    constraint kind_is_known CHECK ((kind = ANY (ARRAY['step'::text, 'sleep'::text, 'event'::text]))),
    constraint state_is_known CHECK ((state = ANY (ARRAY['done'::text, 'waiting'::text, 'timeout'::text]))),
    constraint steps_pkey PRIMARY KEY (job_id, name)
) with ();
create table dtsched.tallies (
    minute timestamp with time zone default date_trunc('minute'::text, dtsched.now()) not null,
    queue text not null,
    task text not null,
    event text not null,
    wait_bucket smallint default 0 not null,
    run_bucket smallint default 0 not null,
    jobs bigint not null,
    wait_seconds double precision default 0 not null,
    run_seconds double precision default 0 not null,
    constraint event_is_known CHECK ((event = ANY (ARRAY['complete'::text, 'fail'::text, 'cancel'::text, 'retry'::text, 'snooze'::text, 'crash'::text, 'unfail'::text, 'uncancel'::text, 'uncomplete'::text])))
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);
create table dtsched.tasks (
    name dtsched.name not null,
    args_schema jsonb,
    declared_at timestamp with time zone default dtsched.now() not null,
    settings jsonb default '{}'::jsonb not null,
    changed_at timestamp with time zone,
    constraint tasks_pkey PRIMARY KEY (name)
) with ();
create table dtsched.ticks (
    schedule text not null,
    tick timestamp with time zone not null,
    outcome text not null,
    job_id bigint,
    at timestamp with time zone default dtsched.now() not null,
    constraint a_fired_tick_has_a_job CHECK (((job_id IS NOT NULL) = (outcome = 'fired'::text))),
    constraint outcome_is_known CHECK ((outcome = ANY (ARRAY['fired'::text, 'skipped'::text, 'missed'::text]))),
    constraint ticks_pkey PRIMARY KEY (schedule, tick)
) with ();
create table dtsched.unlinked (
    xid xid8 default pg_current_xact_id() not null,
    n bigint generated always as identity not null,
    children bigint[] not null,
    constraint unlinked_pkey PRIMARY KEY (xid, n)
) with ();
create table dtsched.unsuccessful (
    state text not null,
    job_id bigint not null,
    constraint unsuccessful_pkey PRIMARY KEY (state, job_id)
) with ();
create table dtsched.wakes (
    id bigint generated always as identity not null,
    queue text not null,
    limit_key text,
    at timestamp with time zone not null,
    constraint wakes_pkey PRIMARY KEY (id)
) with (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000);
create table dtsched.worker_events (
    id bigint default nextval('dtsched.job_events_id_seq'::regclass) not null,
    kind text not null,
    worker_id uuid not null,
    slots integer not null,
    lease interval not null,
    expires_at timestamp with time zone not null,
    lost_at timestamp with time zone,
    who text,
    at timestamp with time zone default clock_timestamp() not null,
    xid xid8 default pg_current_xact_id() not null,
    constraint worker_event_is_known CHECK ((kind = ANY (ARRAY['registered'::text, 'renewed'::text, 'lost'::text, 'gone'::text]))),
    constraint worker_events_pkey PRIMARY KEY (id)
) with ();
create table dtsched.workers (
    id uuid not null,
    name text not null,
    queues text[] not null,
    tasks text[],
    slots integer not null,
    labels jsonb default '{}'::jsonb not null,
    info jsonb default '{}'::jsonb not null,
    lease interval not null,
    started_at timestamp with time zone default dtsched.now() not null,
    expires_at timestamp with time zone not null,
    unbroken_since timestamp with time zone not null,
    lost_at timestamp with time zone,
    draining boolean default false not null,
    over_http boolean default false not null,
    owner text,
    constraint lease_is_at_least_half_a_second CHECK ((lease >= '00:00:00.5'::interval)),
    constraint workers_pkey PRIMARY KEY (id)
) with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=100, fillfactor=20);
create table dtsched.workflows (
    id bigint default nextval('dtsched.workflow_id_seq'::regclass) not null,
    name text not null,
    created_at timestamp with time zone default dtsched.now() not null,
    cancelled_at timestamp with time zone,
    constraint name_has_1_to_128_characters CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    constraint workflows_pkey PRIMARY KEY (id)
) with ();

create table dtsched.jobs_0 partition of dtsched.jobs FOR VALUES FROM ('0') TO ('10000000') with (fillfactor=40);
create table dtsched.jobs_1 partition of dtsched.jobs FOR VALUES FROM ('10000000') TO ('20000000') with (fillfactor=40);
create table dtsched.jobs_2 partition of dtsched.jobs FOR VALUES FROM ('20000000') TO ('30000000') with (fillfactor=40);
create table dtsched.jobs_default partition of dtsched.jobs DEFAULT with (fillfactor=40);

CREATE INDEX api_keys_name_idx ON dtsched.api_keys USING btree (name);
CREATE INDEX audit_actor_idx ON dtsched.audit USING btree (actor, id);
CREATE INDEX audit_target_idx ON dtsched.audit USING btree (target, id);
CREATE INDEX cancelled_by_child_idx ON dtsched.cancelled_by USING btree (child_id);
CREATE INDEX event_waits_job_idx ON dtsched.event_waits USING btree (job_id);
CREATE INDEX events_due_idx ON dtsched.events USING btree (name) WHERE due;
CREATE INDEX events_emitted_idx ON dtsched.events USING btree (emitted_at);
CREATE INDEX idempotency_until_idx ON dtsched.idempotency USING btree (until);
CREATE INDEX jobs_workflow_idx ON ONLY dtsched.jobs USING btree (workflow_id, id) WHERE (workflow_id IS NOT NULL);
CREATE INDEX keys_until_idx ON dtsched.keys USING btree (until) WHERE (until IS NOT NULL);
CREATE INDEX leases_cancel_idx ON dtsched.leases USING btree (worker_id) WHERE (cancel_requested_at IS NOT NULL);
CREATE INDEX leases_deadline_idx ON dtsched.leases USING btree (deadline) WHERE (deadline IS NOT NULL);
CREATE INDEX leases_limit_idx ON dtsched.leases USING btree (limit_key) WHERE (limit_key IS NOT NULL);
CREATE INDEX leases_queue_idx ON dtsched.leases USING btree (queue) WHERE counted;
CREATE INDEX leases_worker_idx ON dtsched.leases USING btree (worker_id, job_id);
CREATE INDEX operations_unfinished_idx ON dtsched.operations USING btree (id) WHERE (state = ANY (ARRAY['pending'::text, 'running'::text]));
CREATE INDEX parked_limit_idx ON dtsched.parked USING btree (limit_key, queue, priority DESC, job_id) WHERE (reason = 'limit'::text);
CREATE INDEX parked_task_idx ON dtsched.parked USING btree (queue, task, priority DESC, job_id) WHERE (reason = 'task'::text);
CREATE INDEX prunable_due_idx ON dtsched.prunable USING btree (due_at);
CREATE INDEX receipts_at_idx ON dtsched.receipts USING btree (at);
CREATE INDEX scheduled_xid_idx ON dtsched.scheduled USING btree (xid);
CREATE INDEX schedules_due_idx ON dtsched.schedules USING btree (next_at NULLS FIRST) WHERE ((paused_at IS NULL) AND (problem IS NULL));
CREATE INDEX tasks_timeout_idx ON dtsched.tasks USING btree (name) WHERE (settings ? 'timeout'::text);
CREATE INDEX ticks_at_idx ON dtsched.ticks USING btree (at);
CREATE INDEX wakes_at_idx ON dtsched.wakes USING btree (at);
CREATE INDEX wakes_key_idx ON dtsched.wakes USING btree (queue, limit_key, at);

CREATE TRIGGER place_new_job BEFORE INSERT ON dtsched.jobs FOR EACH ROW WHEN (((new.state = 'ready'::text) AND ((new.run_at IS NOT NULL) OR (new.depends_on IS NOT NULL) OR (new.on_parent_failure IS NOT NULL)))) EXECUTE FUNCTION dtsched.place_new_job();
CREATE TRIGGER route_new_jobs AFTER INSERT ON dtsched.jobs REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION dtsched.route_new_jobs();
CREATE TRIGGER route_new_jobs AFTER INSERT ON dtsched.jobs_0 REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION dtsched.route_new_jobs();
CREATE TRIGGER route_new_jobs AFTER INSERT ON dtsched.jobs_1 REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION dtsched.route_new_jobs();
CREATE TRIGGER route_new_jobs AFTER INSERT ON dtsched.jobs_2 REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION dtsched.route_new_jobs();
CREATE TRIGGER route_new_jobs AFTER INSERT ON dtsched.jobs_default REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION dtsched.route_new_jobs();
CREATE TRIGGER wake_hungry_workers AFTER INSERT ON dtsched.parked REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION dtsched.wake_hungry_workers();
CREATE TRIGGER wake_hungry_workers AFTER INSERT ON dtsched.ready REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION dtsched.wake_hungry_workers();
CREATE TRIGGER note_schedule_change BEFORE UPDATE ON dtsched.schedules FOR EACH ROW WHEN (((((((((((((((((old.spec IS DISTINCT FROM new.spec) OR (old.tz IS DISTINCT FROM new.tz)) OR ((old.task)::text IS DISTINCT FROM (new.task)::text)) OR ((old.args)::jsonb IS DISTINCT FROM (new.args)::jsonb)) OR ((old.queue)::text IS DISTINCT FROM (new.queue)::text)) OR ((old.priority)::smallint IS DISTINCT FROM (new.priority)::smallint)) OR ((old.max_attempts)::integer IS DISTINCT FROM (new.max_attempts)::integer)) OR ((old.timeout)::interval IS DISTINCT FROM (new.timeout)::interval)) OR ((old.limit_key)::text IS DISTINCT FROM (new.limit_key)::text)) OR ((old.tags)::text[] IS DISTINCT FROM (new.tags)::text[])) OR (old.backoff IS DISTINCT FROM new.backoff)) OR (old.catchup IS DISTINCT FROM new.catchup)) OR (old.catchup_limit IS DISTINCT FROM new.catchup_limit)) OR (old.overlap IS DISTINCT FROM new.overlap)) OR (old.tolerance IS DISTINCT FROM new.tolerance)) OR (old.paused_at IS DISTINCT FROM new.paused_at))) EXECUTE FUNCTION dtsched.note_schedule_change();
CREATE CONSTRAINT TRIGGER link_parents AFTER INSERT ON dtsched.unlinked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dtsched.link_parents();

create function dtsched.act_on(p_action text, p_wanted jsonb, p_changes jsonb, p_run_at timestamp with time zone, p_ids bigint[])
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set lock_timeout=250ms;
create function dtsched.add_turns(p_queue text, p_keys text[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.admit(p_queue text, p_limit integer)
    returns integer
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.admitted(p_queue text, p_room integer, p_limit integer, p_started bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.after_restore()
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.announce_ended(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.api_key_problem(p_id text, p_name text, p_digest bytea, p_scopes text[], p_queues text[], p_expires_in interval)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.authorize(p_id text, p_digest bytea, p_scope text, p_queue text DEFAULT NULL::text, p_job bigint DEFAULT NULL::bigint, p_whole boolean DEFAULT false, p_keyless boolean DEFAULT false)
    returns TABLE(verdict text, name text, scopes text[], queues text[])
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.await_event(p_worker uuid, p_lease bigint, p_step text, p_event text, p_seconds double precision DEFAULT NULL::double precision)
    returns TABLE(outcome text, payload jsonb)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.batch_problems(p_jobs jsonb, p_check_tasks boolean, p_known jsonb DEFAULT '{}'::jsonb, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(n integer, code text, field text, problem text)
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_mergejoin=off;
create function dtsched.begun_steps(p_job bigint)
    returns SETOF text
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.breaker_after(p_rule jsonb, p_failed_at timestamp with time zone[], p_failures integer, p_open_until timestamp with time zone, p_now timestamp with time zone)
    returns TABLE(failed_at timestamp with time zone[], open_until timestamp with time zone)
    language sql immutable;
create function dtsched.breaker_tries(p_open_until timestamp with time zone, p_probe bigint, p_now timestamp with time zone)
    returns integer
    language sql stable;
create function dtsched.bucket(p_seconds double precision)
    returns smallint
    language sql immutable parallel safe;
create function dtsched.bucket_bounds()
    returns double precision[]
    language sql immutable parallel safe;
create function dtsched.called(p_stack text)
    returns text
    language sql immutable
    set search_path=pg_catalog, pg_temp;
create function dtsched.cancel(p_id bigint)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.cancel(p_ids bigint[])
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.cancel_descendants(p_parents bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_nestloop=off
    set enable_mergejoin=off;
create function dtsched.cancel_operation(p_id bigint, p_queues text[] DEFAULT NULL::text[])
    returns text
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.cancel_waiting(p_ids bigint[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.cancel_workflow(p_id bigint)
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.cancelled(p_ids bigint[])
    returns bigint[]
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched."check"()
    returns TABLE(invariant text, job_id bigint, detail text)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_nestloop=off;
create function dtsched.chores(p_now timestamp with time zone, p_all boolean)
    returns text[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.chores_gate()
    returns integer
    language sql immutable parallel safe;
create function dtsched.circle(p_children integer[], p_parents integer[], p_count integer)
    returns integer[]
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.circle_of(p_children bigint[], p_parents bigint[])
    returns bigint[]
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.circle_problem(p_jobs jsonb, p_members integer[], p_count integer)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.claim(p_worker uuid, p_queue text, p_limit integer, p_tasks text[] DEFAULT NULL::text[], p_slots integer DEFAULT NULL::integer)
    returns TABLE(lease_id bigint, job_id bigint, task text, args jsonb, attempt integer, max_attempts integer, timeout_seconds double precision, correlation_id text, backoff jsonb)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.claim_entry(p_worker uuid, p_queue text, p_limit integer, p_tasks text[], p_slots integer, p_priority smallint, p_xid xid8, p_job bigint)
    returns TABLE(lease_id bigint, job_id bigint, task text, args jsonb, attempt integer, max_attempts integer, timeout_seconds double precision, correlation_id text, backoff jsonb)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.claim_leases(p_worker uuid, p_owner text, p_limit integer, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(lease_id bigint, secret text, job_id bigint, queue text, task text, args jsonb, attempt integer, max_attempts integer, timeout_seconds double precision, deadline timestamp with time zone, correlation_id text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.complete(p_worker uuid, p_lease bigint, p_result jsonb DEFAULT NULL::jsonb)
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.counted(p_from timestamp with time zone, p_to timestamp with time zone)
    returns TABLE(minute timestamp with time zone, queue text, task text, event text, wait_bucket smallint, run_bucket smallint, jobs bigint, wait_seconds double precision, run_seconds double precision)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.create_key(p_id text, p_name text, p_digest bytea, p_scopes text[], p_queues text[] DEFAULT NULL::text[], p_expires_in interval DEFAULT NULL::interval)
    returns TABLE(id text, name text, scopes text[], queues text[], created_at timestamp with time zone, expires_at timestamp with time zone, revoked_at timestamp with time zone, last_used_at timestamp with time zone, state text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.create_operation(p_action text, p_filter jsonb, p_changes jsonb DEFAULT NULL::jsonb, p_run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_dry_run boolean DEFAULT false, p_said text DEFAULT NULL::text, p_queues text[] DEFAULT NULL::text[], p_by text DEFAULT NULL::text)
    returns bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.create_workflow(p_name text)
    returns bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.declaration_lasts()
    returns interval
    language sql immutable parallel safe;
create function dtsched.declare_schedules(p_schedules jsonb)
    returns TABLE(name text, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.default_timeouts(p_queue text)
    returns jsonb
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.delete(p_id bigint)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.delete(p_ids bigint[])
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.deliver_event(p_name text)
    returns integer
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.deliver_events(p_limit integer DEFAULT 100)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.deregister_http_worker(p_worker uuid, p_owner text)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.deregister_worker(p_worker uuid)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.drained(p_queue text)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.drop_old_partition()
    returns integer
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set lock_timeout=50ms
    set enable_seqscan=off;
create function dtsched.drop_steps(p_jobs bigint[])
    returns void
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.due_schedules(p_limit integer DEFAULT 100)
    returns TABLE(name text, version bigint, spec text, tz text, since timestamp with time zone, next_at timestamp with time zone, now timestamp with time zone, next_seconds double precision)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.edges_of(p_jobs bigint[])
    returns TABLE(child_id bigint, parent_id bigint, on_failure text)
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.edit(p_id bigint, p_changes jsonb)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.edit(p_ids bigint[], p_changes jsonb)
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.edit_expecting(p_id bigint, p_changes jsonb, p_versions text[])
    returns text
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.edit_lanes(p_jobs bigint[], p_changes jsonb)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.edit_problem(p_changes jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.effective_limits(p_key text, p_queue text DEFAULT 'default'::text)
    returns TABLE(queue text, concurrency integer, rate double precision, burst integer)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.emit(p_name text, p_payload jsonb DEFAULT NULL::jsonb)
    returns TABLE(created boolean, woken integer)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.end_unsuccessful(p_jobs bigint[], p_state text, p_error text)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.ended(p_ids bigint[])
    returns SETOF bigint
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.ensure_partitions()
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set lock_timeout=100ms;
create function dtsched.error_shape(p_error text)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.event_gate()
    returns integer
    language sql immutable parallel safe;
create function dtsched.expire(p_worker uuid, p_limit integer DEFAULT 1000)
    returns TABLE(job_id bigint, lease_id bigint, state text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.expire_leases(p_limit integer)
    returns TABLE(job_id bigint, lease_id bigint, state text)
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off
    set lock_timeout=100ms;
create function dtsched.expire_waiting(p_limit integer)
    returns SETOF bigint
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set lock_timeout=100ms;
create function dtsched.expiry(p_since timestamp with time zone, p_seconds double precision)
    returns timestamp with time zone
    language sql stable;
create function dtsched.feed_gate()
    returns integer
    language sql immutable parallel safe;
create function dtsched.feed_snapshot(p_upto text, p_epoch text)
    returns pg_snapshot
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.feed_watched()
    returns boolean
    language sql volatile;
create function dtsched.figures_of_workflows(p_ids bigint[])
    returns TABLE(id bigint, name text, state text, progress double precision, jobs jsonb, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, cancelled_at timestamp with time zone)
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.find_jobs(p_filter jsonb, p_before bigint DEFAULT NULL::bigint, p_limit integer DEFAULT 1000)
    returns TABLE(ids bigint[], scanned_to bigint)
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.find_prunable(p_all boolean)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.fingerprint(p_error text)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.finish(p_worker uuid, p_done bigint[], p_results jsonb DEFAULT NULL::jsonb, p_others jsonb DEFAULT NULL::jsonb)
    returns SETOF bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.finish_completed(p_worker uuid, p_leases bigint[], p_results jsonb)
    returns SETOF bigint
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_nestloop=off
    set enable_mergejoin=off
    set hash_mem_multiplier=1000;
create function dtsched.finish_lease(p_worker uuid, p_owner text, p_lease bigint, p_secret text, p_outcome jsonb, p_body bytea)
    returns TABLE(outcome text, state text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.finish_others(p_worker uuid, p_others jsonb)
    returns SETOF bigint
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.finite(p_time timestamp with time zone)
    returns timestamp with time zone
    language sql immutable;
create function dtsched.fire(p_name text, p_version bigint, p_due timestamp with time zone, p_ticks timestamp with time zone[], p_next timestamp with time zone)
    returns TABLE(tick timestamp with time zone, outcome text, job_id bigint)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.forget(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.forget_answers(p_limit integer DEFAULT 1000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.forget_events(p_age interval DEFAULT '30 days'::interval, p_limit integer DEFAULT 1000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off
    set enable_material=off;
create function dtsched.forget_receipts(p_age interval DEFAULT '01:00:00'::interval, p_limit integer DEFAULT 1000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.free_expired_keys(p_limit integer DEFAULT 1000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.free_keys(p_keys text[], p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.free_keys_of_deleted(p_jobs bigint[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.free_room(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.free_seats(p_keys text[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.gate()
    returns integer
    language sql immutable parallel safe;
create function dtsched.give_turns(p_queue text, p_keys text[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.half(p_number integer)
    returns integer
    language sql volatile;
create function dtsched.hand_back(p_leases bigint[], p_started boolean, p_reason text)
    returns TABLE(job_id bigint, lease_id bigint, state text)
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set lock_timeout=100ms;
create function dtsched.hand_back_free(p_leases bigint[], p_started boolean, p_reason text)
    returns TABLE(job_id bigint, lease_id bigint, state text)
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.has_ready(p_queues text[])
    returns boolean
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.heartbeat(p_worker uuid, p_owner text, p_system_info jsonb DEFAULT NULL::jsonb, p_leases bigint[] DEFAULT NULL::bigint[])
    returns TABLE(draining boolean, cancelled bigint[], lost bigint[])
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.held(p_worker uuid, p_leases bigint[])
    returns SETOF bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.hold_keys(p_keys text[], p_jobs bigint[], p_untils timestamp with time zone[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.hold_parents(p_ids bigint[], OUT job_id bigint, OUT parent_id bigint)
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.holder_of(p_key text)
    returns bigint
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.hungry(p_queues text[])
    returns bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.is_plain(p_job jsonb)
    returns boolean
    language sql immutable;
create function dtsched.is_secret(p_digest bytea, p_secret text)
    returns boolean
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.is_time(p_text text)
    returns boolean
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.job(p_id bigint)
    returns TABLE(id bigint, queue text, task text, args jsonb, state text, priority integer, run_at timestamp with time zone, attempt integer, max_attempts integer, timeout double precision, key text, limit_key text, depends_on bigint[], tags text[], result jsonb, error text, progress jsonb, worker_id uuid, correlation_id text, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, workflow_id bigint, skipped boolean, deadline timestamp with time zone, key_until timestamp with time zone, result_expired_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.job_of_key(p_key text, p_queues text[] DEFAULT NULL::text[])
    returns SETOF bigint
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.job_problem(p_job jsonb)
    returns text
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.job_version(p_id bigint)
    returns text
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.jobs_just_submitted(p_ids bigint[])
    returns TABLE(id bigint, job json)
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.jobs_of_keys(p_keys text[])
    returns TABLE(key text, job_id bigint)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.jobs_of_workflow(p_id bigint, p_states text[])
    returns bigint[]
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.keep_cursor(p_queue text, p_cursor text)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan;
create function dtsched.keep_turns(p_queue text, p_keys text[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.key_problem(p_key text, p_holder bigint, p_entry integer DEFAULT NULL::integer)
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.key_time(p_text text)
    returns jsonb
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.keyed_parents(p_jobs jsonb, p_ids bigint[], p_holders bigint[])
    returns jsonb
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.line_problem(p_line jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.link_parents()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_nestloop=off
    set enable_mergejoin=off;
create function dtsched.list_attempts(p_job bigint)
    returns TABLE(attempt integer, outcome text, error_type text, message text, traceback text, worker_id uuid, started_at timestamp with time zone, finished_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_audit(p_actor text DEFAULT NULL::text, p_action text DEFAULT NULL::text, p_kind text DEFAULT NULL::text, p_target text DEFAULT NULL::text, p_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_before bigint DEFAULT NULL::bigint, p_limit integer DEFAULT 50)
    returns TABLE(id bigint, at timestamp with time zone, actor text, action text, kind text, target text, detail jsonb, request_id text)
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_custom_plan;
create function dtsched.list_errors(p_since timestamp with time zone, p_queues text[] DEFAULT NULL::text[], p_tasks text[] DEFAULT NULL::text[], p_limit integer DEFAULT 50, p_scan integer DEFAULT 20000)
    returns jsonb
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.list_jobs(p_filter jsonb DEFAULT '{}'::jsonb, p_before bigint DEFAULT NULL::bigint, p_limit integer DEFAULT 100)
    returns TABLE(id bigint, queue text, task text, args jsonb, state text, priority integer, run_at timestamp with time zone, attempt integer, max_attempts integer, timeout double precision, key text, limit_key text, depends_on bigint[], tags text[], result jsonb, error text, progress jsonb, worker_id uuid, correlation_id text, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, workflow_id bigint, skipped boolean, deadline timestamp with time zone, key_until timestamp with time zone, result_expired_at timestamp with time zone, scanned_to bigint)
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.list_keys()
    returns TABLE(id text, name text, scopes text[], queues text[], created_at timestamp with time zone, expires_at timestamp with time zone, revoked_at timestamp with time zone, last_used_at timestamp with time zone, state text)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_limits(p_key text DEFAULT NULL::text, p_after text DEFAULT NULL::text, p_limit integer DEFAULT 200)
    returns TABLE(limit_key text, concurrency integer, rate double precision, burst integer, running bigint, waiting bigint, open_until timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_logs(p_job bigint, p_after integer DEFAULT 0, p_limit integer DEFAULT 1000, p_attempt integer DEFAULT NULL::integer)
    returns TABLE(line integer, attempt integer, at timestamp with time zone, level text, logger text, message text)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.list_operations(p_id bigint DEFAULT NULL::bigint, p_before bigint DEFAULT NULL::bigint, p_limit integer DEFAULT 50, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(id bigint, action text, filter text, changes jsonb, run_at timestamp with time zone, dry_run boolean, state text, progress double precision, matched bigint, outcomes jsonb, sample jsonb, error text, queues text[], created_by text, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.list_queues(p_name text DEFAULT NULL::text, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(name text, paused_at timestamp with time zone, open_until timestamp with time zone, ready bigint, parked bigint, scheduled bigint, blocked bigint, running bigint, oldest_ready_seconds double precision, completed_per_second double precision, failed_per_second double precision, workers bigint, slots bigint, settings jsonb)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_schedules(p_name text DEFAULT NULL::text)
    returns TABLE(name text, spec text, tz text, task text, args jsonb, queue text, priority smallint, max_attempts integer, timeout double precision, limit_key text, tags text[], backoff jsonb, catchup text, catchup_limit integer, overlap text, tolerance double precision, paused_at timestamp with time zone, problem text, next_at timestamp with time zone, last_tick timestamp with time zone, last_outcome text, last_job_id bigint, declared_at timestamp with time zone, edited boolean, version bigint, created_at timestamp with time zone, updated_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_steps(p_job bigint)
    returns TABLE(name text, kind text, state text, result jsonb, result_bytes integer, event text, until timestamp with time zone, attempt integer, worker_id uuid, begun_at timestamp with time zone, ended_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_tasks(p_name text DEFAULT NULL::text)
    returns TABLE(name text, settings jsonb, args_schema jsonb, declared_at timestamp with time zone, changed_at timestamp with time zone, workers bigint)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_ticks(p_name text, p_limit integer DEFAULT 20)
    returns TABLE(tick timestamp with time zone, outcome text, job_id bigint, at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_workers(p_id uuid DEFAULT NULL::uuid, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(id uuid, name text, state text, queues text[], tasks text[], slots integer, running bigint, labels jsonb, info jsonb, lease_seconds double precision, started_at timestamp with time zone, seen_at timestamp with time zone, expires_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.list_workflows(p_before bigint DEFAULT NULL::bigint, p_limit integer DEFAULT 50)
    returns TABLE(id bigint, name text, state text, progress double precision, jobs jsonb, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, cancelled_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.lock_holders(p_jobs jsonb, p_keys text[], p_holders bigint[], p_wanted bigint[])
    returns text[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.lock_jobs(p_ids bigint[])
    returns bigint[]
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.lock_limits(p_keys text[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.lock_waiting(p_ids bigint[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.longer_sample(p_sample jsonb, p_ids bigint[])
    returns jsonb
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.look_at(p_queue text)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.max_crashes(p_task text)
    returns integer
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.may_notify()
    returns boolean
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.metrics()
    returns TABLE(name text, labels jsonb, value double precision)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.moment(p_moment jsonb)
    returns timestamp with time zone
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.more_outcomes(p_counts jsonb, p_outcomes text[])
    returns jsonb
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.move(p_ids bigint[], p_run_at timestamp with time zone)
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.move_waits(p_jobs bigint[], p_until timestamp with time zone)
    returns void
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.new_epoch(p_anyway boolean DEFAULT false)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.next_round(p_operation dtsched.operations, p_rounds integer)
    returns dtsched.operations
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.note_age()
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.note_audit(p_actor text, p_action text, p_kind text, p_target text DEFAULT NULL::text, p_detail jsonb DEFAULT '{}'::jsonb, p_request_id text DEFAULT NULL::text)
    returns bigint
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.note_failures(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.note_outcomes(p_operation dtsched.operations, p_jobs bigint[], p_outcomes text[])
    returns dtsched.operations
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.note_schedule_change()
    returns trigger
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.note_schedule_problem(p_name text, p_version bigint, p_problem text)
    returns void
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.note_starts(p_queue text, p_keys text[], p_started bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.note_unsuccessful(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.now()
    returns timestamp with time zone
    language sql volatile parallel safe;
create function dtsched.operation_problem(p_action text, p_filter jsonb, p_changes jsonb, p_run_at timestamp with time zone)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.parent_results(p_job bigint, p_places integer[])
    returns TABLE(place integer, result jsonb)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.parents(p_job bigint)
    returns TABLE(job_id bigint, state text, result jsonb)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.parents_problem(p_parents jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.park_limited(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.part_of_batch(p_jobs jsonb, p_numbers integer[])
    returns jsonb
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.past_retention()
    returns TABLE(queue text, state text, jobs bigint)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.pause(p_queue text)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.pause_schedule(p_name text)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.percentiles(p_histogram bigint[])
    returns jsonb
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.place_new_job()
    returns trigger
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.problem(p_code text, p_field text, p_problem text)
    returns jsonb
    language sql immutable;
create function dtsched.problems_by_number(p_jobs jsonb, p_check_tasks boolean, p_known jsonb, p_queues text[] DEFAULT NULL::text[])
    returns jsonb
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.promote(p_limit integer DEFAULT 1000)
    returns TABLE(promoted integer, next_seconds double precision, chores text[])
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.prune(p_limit integer DEFAULT 1000, p_all boolean DEFAULT false, OUT jobs bigint, OUT results bigint, OUT partitions integer, OUT more boolean)
    returns record
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.prune_chunk(p_chunk bigint, p_limit bigint, OUT pruned bigint, OUT stripped bigint)
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.prune_feed(p_limit integer DEFAULT 10000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.prune_records()
    returns integer
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.prune_ticks(p_keep interval DEFAULT '7 days'::interval, p_limit integer DEFAULT 1000)
    returns integer
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.put_back(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.queue_problem(p_job jsonb, p_queues text[])
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.rates_from()
    returns timestamp with time zone
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.read_feed(p_since text, p_upto text DEFAULT NULL::text, p_limit integer DEFAULT 20000)
    returns TABLE(upto text, told boolean, event text, job_id bigint, queue text, task text, state text, attempt integer, at timestamp with time zone)
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.recall_step(p_job bigint, p_name text)
    returns SETOF jsonb
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.reconcile(p_worker uuid, p_held bigint[], p_below bigint)
    returns SETOF bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.record_leases()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.record_step(p_worker uuid, p_lease bigint, p_name text, p_result jsonb)
    returns TABLE(result jsonb, created boolean)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.record_transitions()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.record_workers()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.reference_problem(p_args jsonb, p_parents integer)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.refuse(p_wrong integer[], p_problems text[], p_count integer, p_sqlstate text, p_field text DEFAULT NULL::text)
    returns void
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.refuse_batch(p_jobs jsonb, p_check_tasks boolean, p_queues text[] DEFAULT NULL::text[])
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.refuse_circle(p_children bigint[], p_parents bigint[])
    returns void
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.refuse_strange_holders(p_keys text[], p_ids bigint[], p_holders bigint[], p_queues text[])
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.refuse_strange_parents(p_ids bigint[], p_queues text[])
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.register_http_worker(p_name text, p_queues text[], p_tasks text[], p_slots integer, p_lease interval, p_labels jsonb DEFAULT '{}'::jsonb, p_owner text DEFAULT NULL::text)
    returns uuid
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.register_worker(p_worker uuid, p_name text, p_queues text[], p_tasks text[], p_slots integer, p_lease interval, p_info jsonb DEFAULT '{}'::jsonb, p_declared jsonb DEFAULT '{}'::jsonb)
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.release(p_worker uuid, p_never_started bigint[], p_started bigint[])
    returns SETOF bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.release_children(p_parents bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_nestloop=on
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.renew(p_worker uuid, p_info jsonb DEFAULT NULL::jsonb)
    returns TABLE(alive boolean, draining boolean, cancelled bigint[])
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.reopen_waits(p_jobs bigint[])
    returns void
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.replace_waiting(p_ids bigint[], p_jobs jsonb[], p_untils timestamp with time zone[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.report(p_worker uuid, p_reports jsonb)
    returns SETOF bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.report_lease(p_worker uuid, p_owner text, p_lease bigint, p_secret text, p_report jsonb)
    returns TABLE(outcome text, cancelled boolean)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.report_problem(p_reports jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.require_http_worker(p_worker uuid, p_owner text)
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.require_queue_name(p_queue text)
    returns void
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.require_read_committed()
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.require_workflows(p_ids bigint[])
    returns void
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.reschedule(p_id bigint, p_run_at timestamp with time zone)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.reschedule(p_ids bigint[], p_run_at timestamp with time zone)
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.rescue(p_worker uuid, p_limit integer DEFAULT 1000)
    returns TABLE(job_id bigint, lease_id bigint, state text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off
    set enable_bitmapscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.result_expired(p_state text, p_task text, p_queue text, p_finished_at timestamp with time zone, p_dropped_for timestamp with time zone, p_is_there boolean)
    returns timestamp with time zone
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.result_expiry(p_task text, p_queue text, p_finished_at timestamp with time zone)
    returns timestamp with time zone
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.resume(p_queue text)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.resume_schedule(p_name text)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.retention()
    returns TABLE(queue text, completed double precision, failed double precision, cancelled double precision, results double precision)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.retention_digest()
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.retention_seconds(p_retention jsonb, p_name text)
    returns double precision
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.retry(p_id bigint)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.retry(p_ids bigint[])
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_nestloop=off;
create function dtsched.retry_delay(p_backoff jsonb, p_attempt integer)
    returns double precision
    language sql volatile;
create function dtsched.retry_workflow(p_id bigint)
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.revived_with(p_ids bigint[])
    returns bigint[]
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.revoke_key(p_key text)
    returns TABLE(id text, name text, scopes text[], queues text[], created_at timestamp with time zone, expires_at timestamp with time zone, revoked_at timestamp with time zone, last_used_at timestamp with time zone, state text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.roll_up(p_keep interval DEFAULT '7 days'::interval)
    returns bigint
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.route_new_jobs()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.run_now(p_id bigint)
    returns text
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.run_now(p_ids bigint[])
    returns TABLE(job_id bigint, outcome text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.run_schedule(p_name text)
    returns TABLE(job_id bigint, created boolean)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.same_kind(p_job bigint, p_name text, p_was text, p_is text)
    returns void
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.sated(p_queues text[])
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.save_schedule(p_name text, p_fields jsonb, p_merge boolean DEFAULT false, p_check_tasks boolean DEFAULT true)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.schedule(name text, spec text, task text, args jsonb DEFAULT '{}'::jsonb, tz text DEFAULT NULL::text, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, limit_key text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], backoff jsonb DEFAULT NULL::jsonb, catchup text DEFAULT NULL::text, catchup_limit integer DEFAULT NULL::integer, overlap text DEFAULT NULL::text, tolerance interval DEFAULT NULL::interval)
    returns boolean
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.schedule_fields(p_schedule dtsched.schedules)
    returns jsonb
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.schedule_problem(p_name text, p_schedule jsonb)
    returns text
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.scopes_of(p_scopes text[])
    returns text[]
    language sql immutable parallel safe;
create function dtsched.seats(p_queue text, p_keys text[], p_now timestamp with time zone)
    returns TABLE(limit_key text, seats integer, watched boolean, wake_at timestamp with time zone)
    language sql stable;
create function dtsched.set_aside(p_jobs bigint[], p_seated bigint[], p_tasks text[], OUT unused text[], OUT held bigint[])
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.set_free(p_jobs bigint[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.set_limit(p_key text, p_concurrency integer DEFAULT NULL::integer, p_rate double precision DEFAULT NULL::double precision, p_burst integer DEFAULT NULL::integer)
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.set_queue(p_queue text, p_settings jsonb)
    returns jsonb
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.set_retention(p_retention jsonb, p_queue text DEFAULT NULL::text)
    returns jsonb
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.settings_problem(p_settings jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.settle_keys(p_jobs jsonb, p_keys text[], p_ids bigint[], p_untils timestamp with time zone[], p_holders bigint[], OUT holders bigint[], OUT outcomes text[], OUT jobs jsonb, OUT untils timestamp with time zone[])
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set lock_timeout=300ms;
create function dtsched.settled(p_xid bigint)
    returns boolean
    language sql volatile;
create function dtsched.shown(p_value jsonb)
    returns text
    language sql immutable;
create function dtsched.start_sleep(p_worker uuid, p_lease bigint, p_name text, p_seconds double precision)
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.stats(p_queues text[] DEFAULT NULL::text[])
    returns jsonb
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.step_lease(p_worker uuid, p_lease bigint)
    returns bigint
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.step_operation(p_limit integer DEFAULT 500)
    returns TABLE(operation_id bigint, state text, met integer, next_seconds double precision)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.strange_holder(p_key text, p_holder bigint, p_queues text[])
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.submit(task text, args jsonb DEFAULT '{}'::jsonb, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, key text DEFAULT NULL::text, max_attempts integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, limit_key text DEFAULT NULL::text, depends_on bigint[] DEFAULT NULL::bigint[], tags text[] DEFAULT NULL::text[], backoff jsonb DEFAULT NULL::jsonb, deadline timestamp with time zone DEFAULT NULL::timestamp with time zone, correlation_id text DEFAULT NULL::text, key_for text DEFAULT NULL::text, on_conflict text DEFAULT NULL::text, on_parent_failure text DEFAULT NULL::text, workflow bigint DEFAULT NULL::bigint, expires_in interval DEFAULT NULL::interval)
    returns bigint
    language sql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.submit_alike(p_job jsonb, p_args jsonb, p_check_tasks boolean DEFAULT true, p_queues text[] DEFAULT NULL::text[])
    returns bigint[]
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.submit_gathered(p_jobs jsonb, p_queues jsonb DEFAULT NULL::jsonb)
    returns TABLE(id bigint, created boolean, error text, outcome text, code text, field text, job json)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.submit_many(p_jobs jsonb, p_check_tasks boolean DEFAULT true, p_partial boolean DEFAULT false, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(id bigint, created boolean, error text, outcome text, code text, field text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.submit_once(p_jobs jsonb, p_problems jsonb DEFAULT NULL::jsonb, p_whole boolean DEFAULT false, p_queues text[] DEFAULT NULL::text[], p_caller text DEFAULT ''::text, p_key text DEFAULT NULL::text, p_digest bytea DEFAULT NULL::bytea, p_check boolean DEFAULT true, OUT answer json, OUT replayed boolean)
    returns record
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.submit_partly(p_jobs jsonb, p_check_tasks boolean DEFAULT true, p_problems jsonb DEFAULT '{}'::jsonb, p_queues text[] DEFAULT NULL::text[])
    returns TABLE(id bigint, created boolean, error text, outcome text, code text, field text)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set plan_cache_mode=force_generic_plan;
create function dtsched.submit_scheduled(p_schedule dtsched.schedules, p_moments timestamp with time zone[])
    returns TABLE(job_id bigint, created boolean)
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.supersede(p_from bigint[], p_to bigint[], p_keys text[], p_untils timestamp with time zone[], p_told boolean[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.take_free_key(p_key text, p_job bigint, p_until timestamp with time zone)
    returns boolean
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.take_key(p_key text, p_job bigint, p_until timestamp with time zone)
    returns boolean
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.take_keys(p_keys text[], p_ids bigint[], p_untils timestamp with time zone[] DEFAULT NULL::timestamp with time zone[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.take_keys_by_mode(p_jobs jsonb, p_keys text[], p_ids bigint[], p_untils timestamp with time zone[], p_queues text[], OUT holders bigint[], OUT outcomes text[], OUT jobs jsonb, OUT untils timestamp with time zone[])
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.take_limited(p_queue text, p_turns text[], p_limit integer, OUT ids bigint[], OUT keys text[], OUT open text[], OUT watched text[], OUT busy text[])
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.take_parked(p_queue text, p_limit integer, p_tasks text[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.take_ready(p_queue text, p_limit integer, p_aged xid8 DEFAULT NULL::xid8, p_turns integer DEFAULT 16, p_slots integer DEFAULT NULL::integer, OUT ids bigint[], OUT keys text[], OUT lanes smallint[], OUT reserved integer)
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_bitmapscan=off;
create function dtsched.taken_away(p_worker uuid, p_leases bigint[])
    returns SETOF bigint
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.tally_revived(p_jobs bigint[])
    returns void
    language sql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.task_problem(p_task text, p_settings jsonb)
    returns text
    language plpgsql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.tell(p_worker uuid, p_reports jsonb, p_secrets boolean)
    returns SETOF bigint
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.tell_feed(p_jobs bigint[], p_event text, p_state text DEFAULT NULL::text)
    returns void
    language plpgsql volatile;
create function dtsched.text_problem(p_field text, p_value text)
    returns text
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.texts(p_array jsonb)
    returns text[]
    language sql immutable;
create function dtsched.tokens(p_tokens double precision, p_refilled_at timestamp with time zone, p_rate double precision, p_burst integer, p_now timestamp with time zone)
    returns double precision
    language sql immutable;
create function dtsched.trace(p_on boolean)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.try_keys(p_keys text[], p_ids bigint[], p_untils timestamp with time zone[], p_over text[], OUT holders bigint[], OUT over text[])
    returns record
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.try_limits(p_keys text[])
    returns text[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.unfinished(p_id bigint)
    returns boolean
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.unknown_task(p_task text)
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.unschedule(p_name text)
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.unwatch_ended(p_buckets integer[])
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.unwatch_feed()
    returns void
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.version()
    returns integer
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.wake_due(p_now timestamp with time zone)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.wake_hungry_workers()
    returns trigger
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.wake_later(p_queue text, p_keys text[], p_at timestamp with time zone[])
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;
create function dtsched.wake_waiting(p_jobs bigint[])
    returns bigint[]
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.watch_ended(p_buckets integer[])
    returns boolean
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.watch_feed()
    returns text
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.watched_jobs(p_ids bigint[], p_versions text[], p_limit integer DEFAULT 100)
    returns TABLE(watched bigint, version text, id bigint, queue text, task text, args jsonb, state text, priority integer, run_at timestamp with time zone, attempt integer, max_attempts integer, timeout double precision, key text, limit_key text, depends_on bigint[], tags text[], result jsonb, error text, progress jsonb, worker_id uuid, correlation_id text, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, workflow_id bigint, skipped boolean, deadline timestamp with time zone, key_until timestamp with time zone, result_expired_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off
    set enable_hashjoin=off
    set enable_mergejoin=off;
create function dtsched.why(p_id bigint)
    returns TABLE(code text, reason text)
    language plpgsql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off
    set enable_seqscan=off;
create function dtsched.why_breaker(p_what text, p_open_until timestamp with time zone, p_probe bigint, p_now timestamp with time zone)
    returns text
    language sql stable;
create function dtsched.why_deadline(p_deadline timestamp with time zone, p_starts timestamp with time zone, p_now timestamp with time zone)
    returns text
    language sql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.why_limited(p_queue text, p_limit_key text, p_id bigint)
    returns TABLE(code text, reason text)
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.why_ready(p_id bigint, p_queue text, p_task text, p_priority smallint, p_limit_key text)
    returns TABLE(code text, reason text)
    language plpgsql stable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_seqscan=off;
create function dtsched.with_dependents(p_wrong jsonb[], p_children integer[], p_parents integer[])
    returns jsonb[]
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp
    set enable_nestloop=off
    set enable_mergejoin=off;
create function dtsched.with_problems(p_wrong jsonb[], p_found jsonb)
    returns jsonb[]
    language sql immutable
    set search_path=pg_catalog, dtsched, pg_temp;
create function dtsched.witness()
    returns uuid
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.work(p_worker uuid, p_done bigint[], p_results jsonb, p_others jsonb, p_queue text, p_limit integer, p_tasks text[] DEFAULT NULL::text[], p_slots integer DEFAULT NULL::integer)
    returns TABLE(lease_id bigint, job_id bigint, task text, args jsonb, attempt integer, max_attempts integer, timeout_seconds double precision, correlation_id text, backoff jsonb)
    language plpgsql volatile security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.workflow(p_id bigint)
    returns TABLE(id bigint, name text, state text, progress double precision, jobs jsonb, created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, cancelled_at timestamp with time zone)
    language sql stable security definer
    set search_path=pg_catalog, dtsched, pg_temp
    set jit=off;
create function dtsched.write_feed(p_jobs bigint[], p_event text, p_state text)
    returns void
    language plpgsql volatile
    set search_path=pg_catalog, dtsched, pg_temp
    set plan_cache_mode=force_generic_plan
    set enable_seqscan=off;

grant execute on function dtsched."check"() to dtsched_api;
grant execute on function dtsched."check"() to dtsched_operator;
grant execute on function dtsched."check"() to dtsched_reader;
grant execute on function dtsched.authorize(p_id text, p_digest bytea, p_scope text, p_queue text, p_job bigint, p_whole boolean, p_keyless boolean) to dtsched_api;
grant execute on function dtsched.await_event(p_worker uuid, p_lease bigint, p_step text, p_event text, p_seconds double precision) to dtsched_worker;
grant execute on function dtsched.begun_steps(p_job bigint) to dtsched_worker;
grant execute on function dtsched.cancel(p_id bigint) to dtsched_api;
grant execute on function dtsched.cancel(p_id bigint) to dtsched_operator;
grant execute on function dtsched.cancel(p_ids bigint[]) to dtsched_api;
grant execute on function dtsched.cancel(p_ids bigint[]) to dtsched_operator;
grant execute on function dtsched.cancel_operation(p_id bigint, p_queues text[]) to dtsched_api;
grant execute on function dtsched.cancel_operation(p_id bigint, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.cancel_workflow(p_id bigint) to dtsched_api;
grant execute on function dtsched.cancel_workflow(p_id bigint) to dtsched_operator;
grant execute on function dtsched.claim(p_worker uuid, p_queue text, p_limit integer, p_tasks text[], p_slots integer) to dtsched_worker;
grant execute on function dtsched.claim_entry(p_worker uuid, p_queue text, p_limit integer, p_tasks text[], p_slots integer, p_priority smallint, p_xid xid8, p_job bigint) to dtsched_worker;
grant execute on function dtsched.claim_leases(p_worker uuid, p_owner text, p_limit integer, p_queues text[]) to dtsched_api;
grant execute on function dtsched.complete(p_worker uuid, p_lease bigint, p_result jsonb) to dtsched_worker;
grant execute on function dtsched.create_operation(p_action text, p_filter jsonb, p_changes jsonb, p_run_at timestamp with time zone, p_dry_run boolean, p_said text, p_queues text[], p_by text) to dtsched_api;
grant execute on function dtsched.create_operation(p_action text, p_filter jsonb, p_changes jsonb, p_run_at timestamp with time zone, p_dry_run boolean, p_said text, p_queues text[], p_by text) to dtsched_operator;
grant execute on function dtsched.create_workflow(p_name text) to dtsched_api;
grant execute on function dtsched.create_workflow(p_name text) to dtsched_operator;
grant execute on function dtsched.create_workflow(p_name text) to dtsched_submit;
grant execute on function dtsched.declare_schedules(p_schedules jsonb) to dtsched_worker;
grant execute on function dtsched.delete(p_id bigint) to dtsched_api;
grant execute on function dtsched.delete(p_id bigint) to dtsched_operator;
grant execute on function dtsched.delete(p_ids bigint[]) to dtsched_api;
grant execute on function dtsched.delete(p_ids bigint[]) to dtsched_operator;
grant execute on function dtsched.deliver_events(p_limit integer) to dtsched_api;
grant execute on function dtsched.deliver_events(p_limit integer) to dtsched_worker;
grant execute on function dtsched.deregister_http_worker(p_worker uuid, p_owner text) to dtsched_api;
grant execute on function dtsched.deregister_worker(p_worker uuid) to dtsched_worker;
grant execute on function dtsched.drained(p_queue text) to dtsched_api;
grant execute on function dtsched.drained(p_queue text) to dtsched_operator;
grant execute on function dtsched.due_schedules(p_limit integer) to dtsched_api;
grant execute on function dtsched.due_schedules(p_limit integer) to dtsched_worker;
grant execute on function dtsched.edit(p_id bigint, p_changes jsonb) to dtsched_api;
grant execute on function dtsched.edit(p_id bigint, p_changes jsonb) to dtsched_operator;
grant execute on function dtsched.edit(p_ids bigint[], p_changes jsonb) to dtsched_api;
grant execute on function dtsched.edit(p_ids bigint[], p_changes jsonb) to dtsched_operator;
grant execute on function dtsched.edit_expecting(p_id bigint, p_changes jsonb, p_versions text[]) to dtsched_api;
grant execute on function dtsched.edit_expecting(p_id bigint, p_changes jsonb, p_versions text[]) to dtsched_operator;
grant execute on function dtsched.effective_limits(p_key text, p_queue text) to dtsched_api;
grant execute on function dtsched.effective_limits(p_key text, p_queue text) to dtsched_operator;
grant execute on function dtsched.effective_limits(p_key text, p_queue text) to dtsched_reader;
grant execute on function dtsched.emit(p_name text, p_payload jsonb) to dtsched_api;
grant execute on function dtsched.emit(p_name text, p_payload jsonb) to dtsched_operator;
grant execute on function dtsched.emit(p_name text, p_payload jsonb) to dtsched_submit;
grant execute on function dtsched.emit(p_name text, p_payload jsonb) to dtsched_worker;
grant execute on function dtsched.ended(p_ids bigint[]) to dtsched_api;
grant execute on function dtsched.ended(p_ids bigint[]) to dtsched_operator;
grant execute on function dtsched.ended(p_ids bigint[]) to dtsched_reader;
grant execute on function dtsched.ensure_partitions() to dtsched_api;
grant execute on function dtsched.ensure_partitions() to dtsched_worker;
grant execute on function dtsched.expire(p_worker uuid, p_limit integer) to dtsched_api;
grant execute on function dtsched.expire(p_worker uuid, p_limit integer) to dtsched_worker;
grant execute on function dtsched.find_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_api;
grant execute on function dtsched.find_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_operator;
grant execute on function dtsched.find_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_reader;
grant execute on function dtsched.finish(p_worker uuid, p_done bigint[], p_results jsonb, p_others jsonb) to dtsched_worker;
grant execute on function dtsched.finish_lease(p_worker uuid, p_owner text, p_lease bigint, p_secret text, p_outcome jsonb, p_body bytea) to dtsched_api;
grant execute on function dtsched.fire(p_name text, p_version bigint, p_due timestamp with time zone, p_ticks timestamp with time zone[], p_next timestamp with time zone) to dtsched_api;
grant execute on function dtsched.fire(p_name text, p_version bigint, p_due timestamp with time zone, p_ticks timestamp with time zone[], p_next timestamp with time zone) to dtsched_worker;
grant execute on function dtsched.forget_answers(p_limit integer) to dtsched_api;
grant execute on function dtsched.forget_answers(p_limit integer) to dtsched_worker;
grant execute on function dtsched.forget_events(p_age interval, p_limit integer) to dtsched_api;
grant execute on function dtsched.forget_events(p_age interval, p_limit integer) to dtsched_worker;
grant execute on function dtsched.forget_receipts(p_age interval, p_limit integer) to dtsched_api;
grant execute on function dtsched.forget_receipts(p_age interval, p_limit integer) to dtsched_worker;
grant execute on function dtsched.free_expired_keys(p_limit integer) to dtsched_api;
grant execute on function dtsched.free_expired_keys(p_limit integer) to dtsched_worker;
grant execute on function dtsched.gate() to dtsched_api;
grant execute on function dtsched.gate() to dtsched_monitor;
grant execute on function dtsched.gate() to dtsched_operator;
grant execute on function dtsched.gate() to dtsched_reader;
grant execute on function dtsched.gate() to dtsched_submit;
grant execute on function dtsched.gate() to dtsched_worker;
grant execute on function dtsched.has_ready(p_queues text[]) to dtsched_worker;
grant execute on function dtsched.heartbeat(p_worker uuid, p_owner text, p_system_info jsonb, p_leases bigint[]) to dtsched_api;
grant execute on function dtsched.held(p_worker uuid, p_leases bigint[]) to dtsched_worker;
grant execute on function dtsched.hungry(p_queues text[]) to dtsched_api;
grant execute on function dtsched.hungry(p_queues text[]) to dtsched_worker;
grant execute on function dtsched.job(p_id bigint) to dtsched_api;
grant execute on function dtsched.job(p_id bigint) to dtsched_operator;
grant execute on function dtsched.job(p_id bigint) to dtsched_reader;
grant execute on function dtsched.job_of_key(p_key text, p_queues text[]) to dtsched_api;
grant execute on function dtsched.job_of_key(p_key text, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.job_of_key(p_key text, p_queues text[]) to dtsched_reader;
grant execute on function dtsched.job_version(p_id bigint) to dtsched_api;
grant execute on function dtsched.job_version(p_id bigint) to dtsched_operator;
grant execute on function dtsched.job_version(p_id bigint) to dtsched_reader;
grant execute on function dtsched.jobs_of_keys(p_keys text[]) to dtsched_operator;
grant execute on function dtsched.list_attempts(p_job bigint) to dtsched_api;
grant execute on function dtsched.list_attempts(p_job bigint) to dtsched_operator;
grant execute on function dtsched.list_attempts(p_job bigint) to dtsched_reader;
grant execute on function dtsched.list_audit(p_actor text, p_action text, p_kind text, p_target text, p_since timestamp with time zone, p_before bigint, p_limit integer) to dtsched_api;
grant execute on function dtsched.list_audit(p_actor text, p_action text, p_kind text, p_target text, p_since timestamp with time zone, p_before bigint, p_limit integer) to dtsched_operator;
grant execute on function dtsched.list_errors(p_since timestamp with time zone, p_queues text[], p_tasks text[], p_limit integer, p_scan integer) to dtsched_api;
grant execute on function dtsched.list_errors(p_since timestamp with time zone, p_queues text[], p_tasks text[], p_limit integer, p_scan integer) to dtsched_operator;
grant execute on function dtsched.list_errors(p_since timestamp with time zone, p_queues text[], p_tasks text[], p_limit integer, p_scan integer) to dtsched_reader;
grant execute on function dtsched.list_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_api;
grant execute on function dtsched.list_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_operator;
grant execute on function dtsched.list_jobs(p_filter jsonb, p_before bigint, p_limit integer) to dtsched_reader;
grant execute on function dtsched.list_limits(p_key text, p_after text, p_limit integer) to dtsched_api;
grant execute on function dtsched.list_limits(p_key text, p_after text, p_limit integer) to dtsched_operator;
grant execute on function dtsched.list_limits(p_key text, p_after text, p_limit integer) to dtsched_reader;
grant execute on function dtsched.list_logs(p_job bigint, p_after integer, p_limit integer, p_attempt integer) to dtsched_api;
grant execute on function dtsched.list_logs(p_job bigint, p_after integer, p_limit integer, p_attempt integer) to dtsched_operator;
grant execute on function dtsched.list_logs(p_job bigint, p_after integer, p_limit integer, p_attempt integer) to dtsched_reader;
grant execute on function dtsched.list_operations(p_id bigint, p_before bigint, p_limit integer, p_queues text[]) to dtsched_api;
grant execute on function dtsched.list_operations(p_id bigint, p_before bigint, p_limit integer, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.list_operations(p_id bigint, p_before bigint, p_limit integer, p_queues text[]) to dtsched_reader;
grant execute on function dtsched.list_queues(p_name text, p_queues text[]) to dtsched_api;
grant execute on function dtsched.list_queues(p_name text, p_queues text[]) to dtsched_monitor;
grant execute on function dtsched.list_queues(p_name text, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.list_queues(p_name text, p_queues text[]) to dtsched_reader;
grant execute on function dtsched.list_schedules(p_name text) to dtsched_api;
grant execute on function dtsched.list_schedules(p_name text) to dtsched_operator;
grant execute on function dtsched.list_schedules(p_name text) to dtsched_reader;
grant execute on function dtsched.list_steps(p_job bigint) to dtsched_api;
grant execute on function dtsched.list_steps(p_job bigint) to dtsched_operator;
grant execute on function dtsched.list_steps(p_job bigint) to dtsched_reader;
grant execute on function dtsched.list_tasks(p_name text) to dtsched_api;
grant execute on function dtsched.list_tasks(p_name text) to dtsched_monitor;
grant execute on function dtsched.list_tasks(p_name text) to dtsched_operator;
grant execute on function dtsched.list_tasks(p_name text) to dtsched_reader;
grant execute on function dtsched.list_ticks(p_name text, p_limit integer) to dtsched_api;
grant execute on function dtsched.list_ticks(p_name text, p_limit integer) to dtsched_operator;
grant execute on function dtsched.list_ticks(p_name text, p_limit integer) to dtsched_reader;
grant execute on function dtsched.list_workers(p_id uuid, p_queues text[]) to dtsched_api;
grant execute on function dtsched.list_workers(p_id uuid, p_queues text[]) to dtsched_monitor;
grant execute on function dtsched.list_workers(p_id uuid, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.list_workers(p_id uuid, p_queues text[]) to dtsched_reader;
grant execute on function dtsched.list_workflows(p_before bigint, p_limit integer) to dtsched_api;
grant execute on function dtsched.list_workflows(p_before bigint, p_limit integer) to dtsched_operator;
grant execute on function dtsched.list_workflows(p_before bigint, p_limit integer) to dtsched_reader;
grant execute on function dtsched.metrics() to dtsched_api;
grant execute on function dtsched.metrics() to dtsched_monitor;
grant execute on function dtsched.metrics() to dtsched_operator;
grant execute on function dtsched.metrics() to dtsched_reader;
grant execute on function dtsched.note_age() to dtsched_api;
grant execute on function dtsched.note_age() to dtsched_worker;
grant execute on function dtsched.note_audit(p_actor text, p_action text, p_kind text, p_target text, p_detail jsonb, p_request_id text) to dtsched_api;
grant execute on function dtsched.note_schedule_problem(p_name text, p_version bigint, p_problem text) to dtsched_api;
grant execute on function dtsched.note_schedule_problem(p_name text, p_version bigint, p_problem text) to dtsched_worker;
grant execute on function dtsched.now() to dtsched_api;
grant execute on function dtsched.now() to dtsched_monitor;
grant execute on function dtsched.now() to dtsched_operator;
grant execute on function dtsched.now() to dtsched_reader;
grant execute on function dtsched.now() to dtsched_submit;
grant execute on function dtsched.now() to dtsched_worker;
grant execute on function dtsched.parent_results(p_job bigint, p_places integer[]) to dtsched_worker;
grant execute on function dtsched.parents(p_job bigint) to dtsched_worker;
grant execute on function dtsched.past_retention() to dtsched_api;
grant execute on function dtsched.past_retention() to dtsched_operator;
grant execute on function dtsched.pause(p_queue text) to dtsched_api;
grant execute on function dtsched.pause(p_queue text) to dtsched_operator;
grant execute on function dtsched.pause_schedule(p_name text) to dtsched_api;
grant execute on function dtsched.pause_schedule(p_name text) to dtsched_operator;
grant execute on function dtsched.promote(p_limit integer) to dtsched_api;
grant execute on function dtsched.promote(p_limit integer) to dtsched_worker;
grant execute on function dtsched.prune(p_limit integer, p_all boolean, OUT jobs bigint, OUT results bigint, OUT partitions integer, OUT more boolean) to dtsched_api;
grant execute on function dtsched.prune(p_limit integer, p_all boolean, OUT jobs bigint, OUT results bigint, OUT partitions integer, OUT more boolean) to dtsched_operator;
grant execute on function dtsched.prune(p_limit integer, p_all boolean, OUT jobs bigint, OUT results bigint, OUT partitions integer, OUT more boolean) to dtsched_worker;
grant execute on function dtsched.prune_feed(p_limit integer) to dtsched_api;
grant execute on function dtsched.prune_feed(p_limit integer) to dtsched_worker;
grant execute on function dtsched.prune_records() to dtsched_api;
grant execute on function dtsched.prune_records() to dtsched_worker;
grant execute on function dtsched.prune_ticks(p_keep interval, p_limit integer) to dtsched_api;
grant execute on function dtsched.prune_ticks(p_keep interval, p_limit integer) to dtsched_worker;
grant execute on function dtsched.read_feed(p_since text, p_upto text, p_limit integer) to dtsched_api;
grant execute on function dtsched.read_feed(p_since text, p_upto text, p_limit integer) to dtsched_operator;
grant execute on function dtsched.read_feed(p_since text, p_upto text, p_limit integer) to dtsched_reader;
grant execute on function dtsched.recall_step(p_job bigint, p_name text) to dtsched_worker;
grant execute on function dtsched.reconcile(p_worker uuid, p_held bigint[], p_below bigint) to dtsched_worker;
grant execute on function dtsched.record_step(p_worker uuid, p_lease bigint, p_name text, p_result jsonb) to dtsched_worker;
grant execute on function dtsched.register_http_worker(p_name text, p_queues text[], p_tasks text[], p_slots integer, p_lease interval, p_labels jsonb, p_owner text) to dtsched_api;
grant execute on function dtsched.register_worker(p_worker uuid, p_name text, p_queues text[], p_tasks text[], p_slots integer, p_lease interval, p_info jsonb, p_declared jsonb) to dtsched_worker;
grant execute on function dtsched.release(p_worker uuid, p_never_started bigint[], p_started bigint[]) to dtsched_worker;
grant execute on function dtsched.renew(p_worker uuid, p_info jsonb) to dtsched_worker;
grant execute on function dtsched.report(p_worker uuid, p_reports jsonb) to dtsched_worker;
grant execute on function dtsched.report_lease(p_worker uuid, p_owner text, p_lease bigint, p_secret text, p_report jsonb) to dtsched_api;
grant execute on function dtsched.reschedule(p_id bigint, p_run_at timestamp with time zone) to dtsched_api;
grant execute on function dtsched.reschedule(p_id bigint, p_run_at timestamp with time zone) to dtsched_operator;
grant execute on function dtsched.reschedule(p_ids bigint[], p_run_at timestamp with time zone) to dtsched_api;
grant execute on function dtsched.reschedule(p_ids bigint[], p_run_at timestamp with time zone) to dtsched_operator;
grant execute on function dtsched.rescue(p_worker uuid, p_limit integer) to dtsched_api;
grant execute on function dtsched.rescue(p_worker uuid, p_limit integer) to dtsched_worker;
grant execute on function dtsched.resume(p_queue text) to dtsched_api;
grant execute on function dtsched.resume(p_queue text) to dtsched_operator;
grant execute on function dtsched.resume_schedule(p_name text) to dtsched_api;
grant execute on function dtsched.resume_schedule(p_name text) to dtsched_operator;
grant execute on function dtsched.retention() to dtsched_api;
grant execute on function dtsched.retention() to dtsched_operator;
grant execute on function dtsched.retention() to dtsched_reader;
grant execute on function dtsched.retry(p_id bigint) to dtsched_api;
grant execute on function dtsched.retry(p_id bigint) to dtsched_operator;
grant execute on function dtsched.retry(p_ids bigint[]) to dtsched_api;
grant execute on function dtsched.retry(p_ids bigint[]) to dtsched_operator;
grant execute on function dtsched.retry_workflow(p_id bigint) to dtsched_api;
grant execute on function dtsched.retry_workflow(p_id bigint) to dtsched_operator;
grant execute on function dtsched.roll_up(p_keep interval) to dtsched_api;
grant execute on function dtsched.roll_up(p_keep interval) to dtsched_worker;
grant execute on function dtsched.run_now(p_id bigint) to dtsched_api;
grant execute on function dtsched.run_now(p_id bigint) to dtsched_operator;
grant execute on function dtsched.run_now(p_ids bigint[]) to dtsched_api;
grant execute on function dtsched.run_now(p_ids bigint[]) to dtsched_operator;
grant execute on function dtsched.run_schedule(p_name text) to dtsched_api;
grant execute on function dtsched.run_schedule(p_name text) to dtsched_operator;
grant execute on function dtsched.sated(p_queues text[]) to dtsched_api;
grant execute on function dtsched.sated(p_queues text[]) to dtsched_worker;
grant execute on function dtsched.save_schedule(p_name text, p_fields jsonb, p_merge boolean, p_check_tasks boolean) to dtsched_api;
grant execute on function dtsched.save_schedule(p_name text, p_fields jsonb, p_merge boolean, p_check_tasks boolean) to dtsched_operator;
grant execute on function dtsched.schedule(name text, spec text, task text, args jsonb, tz text, queue text, priority integer, max_attempts integer, timeout interval, limit_key text, tags text[], backoff jsonb, catchup text, catchup_limit integer, overlap text, tolerance interval) to dtsched_operator;
grant execute on function dtsched.set_limit(p_key text, p_concurrency integer, p_rate double precision, p_burst integer) to dtsched_api;
grant execute on function dtsched.set_limit(p_key text, p_concurrency integer, p_rate double precision, p_burst integer) to dtsched_operator;
grant execute on function dtsched.set_queue(p_queue text, p_settings jsonb) to dtsched_api;
grant execute on function dtsched.set_queue(p_queue text, p_settings jsonb) to dtsched_operator;
grant execute on function dtsched.set_retention(p_retention jsonb, p_queue text) to dtsched_api;
grant execute on function dtsched.set_retention(p_retention jsonb, p_queue text) to dtsched_operator;
grant execute on function dtsched.settled(p_xid bigint) to dtsched_api;
grant execute on function dtsched.settled(p_xid bigint) to dtsched_worker;
grant execute on function dtsched.start_sleep(p_worker uuid, p_lease bigint, p_name text, p_seconds double precision) to dtsched_worker;
grant execute on function dtsched.stats(p_queues text[]) to dtsched_api;
grant execute on function dtsched.stats(p_queues text[]) to dtsched_monitor;
grant execute on function dtsched.stats(p_queues text[]) to dtsched_operator;
grant execute on function dtsched.stats(p_queues text[]) to dtsched_reader;
grant execute on function dtsched.step_operation(p_limit integer) to dtsched_api;
grant execute on function dtsched.step_operation(p_limit integer) to dtsched_worker;
grant execute on function dtsched.submit(task text, args jsonb, queue text, priority integer, run_at timestamp with time zone, delay interval, key text, max_attempts integer, timeout interval, limit_key text, depends_on bigint[], tags text[], backoff jsonb, deadline timestamp with time zone, correlation_id text, key_for text, on_conflict text, on_parent_failure text, workflow bigint, expires_in interval) to dtsched_operator;
grant execute on function dtsched.submit(task text, args jsonb, queue text, priority integer, run_at timestamp with time zone, delay interval, key text, max_attempts integer, timeout interval, limit_key text, depends_on bigint[], tags text[], backoff jsonb, deadline timestamp with time zone, correlation_id text, key_for text, on_conflict text, on_parent_failure text, workflow bigint, expires_in interval) to dtsched_submit;
grant execute on function dtsched.submit_alike(p_job jsonb, p_args jsonb, p_check_tasks boolean, p_queues text[]) to dtsched_api;
grant execute on function dtsched.submit_alike(p_job jsonb, p_args jsonb, p_check_tasks boolean, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.submit_alike(p_job jsonb, p_args jsonb, p_check_tasks boolean, p_queues text[]) to dtsched_submit;
grant execute on function dtsched.submit_gathered(p_jobs jsonb, p_queues jsonb) to dtsched_api;
grant execute on function dtsched.submit_many(p_jobs jsonb, p_check_tasks boolean, p_partial boolean, p_queues text[]) to dtsched_api;
grant execute on function dtsched.submit_many(p_jobs jsonb, p_check_tasks boolean, p_partial boolean, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.submit_many(p_jobs jsonb, p_check_tasks boolean, p_partial boolean, p_queues text[]) to dtsched_submit;
grant execute on function dtsched.submit_once(p_jobs jsonb, p_problems jsonb, p_whole boolean, p_queues text[], p_caller text, p_key text, p_digest bytea, p_check boolean, OUT answer json, OUT replayed boolean) to dtsched_api;
grant execute on function dtsched.submit_partly(p_jobs jsonb, p_check_tasks boolean, p_problems jsonb, p_queues text[]) to dtsched_api;
grant execute on function dtsched.submit_partly(p_jobs jsonb, p_check_tasks boolean, p_problems jsonb, p_queues text[]) to dtsched_operator;
grant execute on function dtsched.submit_partly(p_jobs jsonb, p_check_tasks boolean, p_problems jsonb, p_queues text[]) to dtsched_submit;
grant execute on function dtsched.taken_away(p_worker uuid, p_leases bigint[]) to dtsched_worker;
grant execute on function dtsched.unschedule(p_name text) to dtsched_api;
grant execute on function dtsched.unschedule(p_name text) to dtsched_operator;
grant execute on function dtsched.unwatch_ended(p_buckets integer[]) to dtsched_api;
grant execute on function dtsched.unwatch_ended(p_buckets integer[]) to dtsched_operator;
grant execute on function dtsched.unwatch_ended(p_buckets integer[]) to dtsched_reader;
grant execute on function dtsched.unwatch_feed() to dtsched_api;
grant execute on function dtsched.unwatch_feed() to dtsched_operator;
grant execute on function dtsched.unwatch_feed() to dtsched_reader;
grant execute on function dtsched.version() to dtsched_api;
grant execute on function dtsched.version() to dtsched_monitor;
grant execute on function dtsched.version() to dtsched_operator;
grant execute on function dtsched.version() to dtsched_reader;
grant execute on function dtsched.version() to dtsched_submit;
grant execute on function dtsched.version() to dtsched_worker;
grant execute on function dtsched.watch_ended(p_buckets integer[]) to dtsched_api;
grant execute on function dtsched.watch_ended(p_buckets integer[]) to dtsched_operator;
grant execute on function dtsched.watch_ended(p_buckets integer[]) to dtsched_reader;
grant execute on function dtsched.watch_feed() to dtsched_api;
grant execute on function dtsched.watch_feed() to dtsched_operator;
grant execute on function dtsched.watch_feed() to dtsched_reader;
grant execute on function dtsched.watched_jobs(p_ids bigint[], p_versions text[], p_limit integer) to dtsched_api;
grant execute on function dtsched.watched_jobs(p_ids bigint[], p_versions text[], p_limit integer) to dtsched_operator;
grant execute on function dtsched.watched_jobs(p_ids bigint[], p_versions text[], p_limit integer) to dtsched_reader;
grant execute on function dtsched.why(p_id bigint) to dtsched_api;
grant execute on function dtsched.why(p_id bigint) to dtsched_operator;
grant execute on function dtsched.why(p_id bigint) to dtsched_reader;
grant execute on function dtsched.witness() to dtsched_api;
grant execute on function dtsched.witness() to dtsched_worker;
grant execute on function dtsched.work(p_worker uuid, p_done bigint[], p_results jsonb, p_others jsonb, p_queue text, p_limit integer, p_tasks text[], p_slots integer) to dtsched_worker;
grant execute on function dtsched.workflow(p_id bigint) to dtsched_api;
grant execute on function dtsched.workflow(p_id bigint) to dtsched_operator;
grant execute on function dtsched.workflow(p_id bigint) to dtsched_reader;
grant usage on schema dtsched to dtsched_api;
grant usage on schema dtsched to dtsched_monitor;
grant usage on schema dtsched to dtsched_operator;
grant usage on schema dtsched to dtsched_reader;
grant usage on schema dtsched to dtsched_submit;
grant usage on schema dtsched to dtsched_worker;
grant usage on sequence dtsched.job_id_seq to dtsched_submit;
grant insert on table dtsched.jobs (args) to dtsched_submit;
grant insert on table dtsched.jobs (deadline) to dtsched_submit;
grant insert on table dtsched.jobs (depends_on) to dtsched_submit;
grant select on table dtsched.jobs (id) to dtsched_submit;
grant insert on table dtsched.jobs (key) to dtsched_submit;
grant insert on table dtsched.jobs (key_until) to dtsched_submit;
grant insert on table dtsched.jobs (limit_key) to dtsched_submit;
grant insert on table dtsched.jobs (max_attempts) to dtsched_submit;
grant insert on table dtsched.jobs (on_parent_failure) to dtsched_submit;
grant insert on table dtsched.jobs (priority) to dtsched_submit;
grant insert on table dtsched.jobs (queue) to dtsched_submit;
grant insert on table dtsched.jobs (run_at) to dtsched_submit;
grant insert on table dtsched.jobs (tags) to dtsched_submit;
grant insert on table dtsched.jobs (task) to dtsched_submit;
grant insert on table dtsched.jobs (timeout) to dtsched_submit;
grant insert on table dtsched.jobs (workflow_id) to dtsched_submit;

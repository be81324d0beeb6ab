-- Limits: how many jobs of a queue or of a limit key run at once, how many start a second, and what stops when too many fail.

-- Ready jobs with a limit key wait in parked (reason limit), and come into ready as turns of their key: an entry with a limit
-- key, in the lane of its priority plus 10, says that this key deserves a look. So a key at its limit costs nobody anything,
-- and a key with a million jobs has no more turns than one with a single job.
alter table dtsched.ready add column limit_key text;

alter table dtsched.leases add column queue text;
update dtsched.leases lease set queue = job.queue from dtsched.jobs job where job.id = lease.job_id;
create index leases_queue_idx on dtsched.leases (queue);
create index leases_limit_idx on dtsched.leases (limit_key) where limit_key is not null;

drop index dtsched.parked_limit_idx;
alter table dtsched.parked drop constraint reason_is_known;
alter table dtsched.parked add constraint reason_is_known check (reason in ('limit', 'task'));
create index parked_limit_idx on dtsched.parked (limit_key, queue, priority desc, job_id) where reason = 'limit';
alter table dtsched.parked set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);

-- A limit key that some claim has met, or for which somebody has set limits; its row is the key's lock. What is null here is
-- as the queue's settings say (key_limit, key_rate, key_burst), and one at a time where they say nothing.
create table dtsched.limits (
    limit_key   text not null constraint limits_pkey primary key,
    concurrency integer constraint concurrency_is_not_negative check (concurrency >= 0),
    rate        double precision constraint rate_is_positive check (rate > 0),
    burst       integer constraint burst_is_positive check (burst > 0),
    tokens      double precision,
    refilled_at timestamptz,
    failed_at   timestamptz[] not null default '{}',
    open_until  timestamptz,
    probe_id    bigint
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0);

-- The state of a queue's bucket and of its circuit breaker. open_until is null while it is closed; probe_id is the job by
-- which it finds out whether it may close.
alter table dtsched.queues
    add column tokens double precision,
    add column refilled_at timestamptz,
    add column failed_at timestamptz[] not null default '{}',
    add column open_until timestamptz,
    add column probe_id bigint;

-- When a queue, or a limit key in it, may start jobs again: its bucket has a token by then, or its breaker lets one try.
create table dtsched.wakes (
    id        bigint generated always as identity constraint wakes_pkey primary key,
    queue     text not null,
    limit_key text,
    at        timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index wakes_at_idx on dtsched.wakes (at);
create index wakes_key_idx on dtsched.wakes (queue, limit_key, at);

-- A publication FOR ALL TABLES forbids the DELETE of what cannot be told apart.
alter table dtsched.tallies replica identity full;

-- Which transactions had begun by when: an entry of ready with a smaller xid is older than that. So the lanes know how long
-- a job has waited without carrying a time.
create table dtsched.ages (
    at   timestamptz not null constraint ages_pkey primary key,
    xid  xid8 not null,
    kept boolean not null
);

drop function if exists dtsched.take_ready(text, integer);
drop function if exists dtsched.claim(uuid, text, integer, text[]);
drop function if exists dtsched.work(uuid, bigint[], jsonb, jsonb, text, integer, text[]);
drop function if exists dtsched.promote(integer);
drop function if exists dtsched.list_queues(text);

-- Where prune() has yet to look. A row is 10,000 ids of jobs, of which none can be past its retention before due_at: jobs has
-- no index on its state or on finished_at. closed_at: by then all of its ids were given out.
create table dtsched.prunable (
    chunk     bigint not null constraint prunable_pkey primary key,
    due_at    timestamptz not null default '-infinity',
    closed_at timestamptz
) with (fillfactor = 50);
create index prunable_due_idx on dtsched.prunable (due_at);

-- By when the result of a completed job was past its retention; it is gone then. No domain: that would rewrite the table.
alter table dtsched.jobs add column result_expired_at timestamptz;

-- One row: the retention of queues that say nothing of their own, and by which rules prunable.due_at was reckoned.
create table dtsched.pruning (
    one       boolean not null default true constraint pruning_pkey primary key constraint one_row check (one),
    retention jsonb not null default '{}',
    rules     text not null default ''
);
insert into dtsched.pruning default values;

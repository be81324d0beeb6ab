-- What happens to jobs while somebody watches, for whoever streams it.

-- Only ever inserted and deleted, and only while somebody watches. Not logged: after a crash nobody has watched, and
-- everybody is told so by a new epoch.
create unlogged table dtsched.feed (
    xid     xid8 not null default pg_current_xact_id(),
    id      bigint not null generated always as identity,
    at      timestamptz not null default dtsched.now(),
    event   text not null,
    job_id  bigint not null,
    queue   text not null,
    task    text not null,
    state   text not null,
    attempt integer not null,
    constraint feed_pkey primary key (xid, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        vacuum_truncate = off);

-- One row. epoch: a name for the time in which somebody has been watching without a gap. since: a transaction with a
-- larger xid has told everything; one with a smaller one may have begun before anybody watched. pruned: what this
-- snapshot shows of the feed has been deleted, or may be at any time. marks: snapshots that pruned will become, oldest first,
-- and when they were taken.
create table dtsched.feed_watch (
    only_one  boolean not null default true constraint feed_watch_pkey primary key constraint feed_watch_is_one check (only_one),
    epoch     text not null,
    since     xid8 not null,
    pruned    pg_snapshot,
    marks     pg_snapshot[] not null default '{}',
    marked_at timestamptz[] not null default '{}'
);
insert into dtsched.feed_watch (epoch, since) values ('00000000', '0');

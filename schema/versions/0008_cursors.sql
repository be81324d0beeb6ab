-- How far a queue's lanes have been read, as take_ready() puts it, for sessions that begin to claim.
create table dtsched.cursors (
    queue             text primary key,
    cursor            text not null,
    server_started_at timestamptz not null,  -- of another run of a server it says nothing: a dump may have brought it here
    kept_at           timestamptz not null default clock_timestamp()
);

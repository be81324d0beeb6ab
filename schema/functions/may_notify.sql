-- Whether a NOTIFY may be sent. Not with dtsched.notify = off (two-phase commit forbids it), and not when the queue of notifications is
-- half full: on a full one every transaction that notifies fails at its commit, and whoever should hear of it finds out by polling.
create or replace function dtsched.may_notify() returns boolean
language sql
set search_path = pg_catalog, dtsched, pg_temp
as $$ select coalesce(current_setting('dtsched.notify', true), '') <> 'off' and pg_notification_queue_usage() <= 0.5 $$;

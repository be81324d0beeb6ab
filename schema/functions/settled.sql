-- True when every transaction that began before the xid drawn by hungry() has ended: whatever commits from now on has seen
-- the gate. To be read before the claim whose emptiness is to be trusted.
create or replace function dtsched.settled(p_xid bigint) returns boolean
language sql volatile
as $$ select pg_snapshot_xmin(pg_current_snapshot()) > p_xid::text::xid8 $$;

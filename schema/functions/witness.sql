-- A witness, if there is one: a worker whose own renewals have been unbroken for one lease of its own. A server is no worker and has
-- no renewals of its own; what only a witness may ask for (rescue, expire) it asks for in the name of one. That is as safe as if
-- the witness did: after an outage, or a jump of the clock, there is none before the living have renewed for a lease.
create or replace function dtsched.witness() returns uuid
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select worker.id
    from dtsched.workers worker
    where worker.lost_at is null and worker.expires_at > dtsched.now()
        and worker.unbroken_since <= dtsched.now() - worker.lease
    limit 1
$$;

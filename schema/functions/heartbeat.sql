-- renew() of a worker over HTTP. p_system_info takes the place of the figures that it gave before; null: they stay. p_leases
-- are those that it holds; null: it does not say. Returns the leases whose handlers are to stop, and those of p_leases that it
-- does not hold any more.
--
-- A lease of its own that it does not name is one whose claim it never heard the answer of: handed back, as a crash, for nobody
-- can vouch that its handler never started. But only if its job started over one lease ago, because the answer may still be on
-- its way, on another connection. One that comes later than that does no harm either: its secret finishes nothing any more.
-- Lease ids of one worker grow with time, as its claims come one after the other (each holds the worker's row).
-- Raises JQ004 for a worker that is not this owner's, JQ005 for one that is lost. Locks: renew's, then reconcile's.
create or replace function dtsched.heartbeat(
    p_worker uuid,
    p_owner text,
    p_system_info jsonb default null,
    p_leases bigint[] default null
)
returns table (draining boolean, cancelled bigint[], lost bigint[])
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_renewed record;
    v_below bigint;
begin
    perform dtsched.require_http_worker(p_worker, p_owner);
    select renewed.alive, renewed.draining, renewed.cancelled
    into v_renewed
    from dtsched.renew(p_worker, (
        select worker.info || jsonb_build_object('system_info', p_system_info)
        from dtsched.workers worker
        where worker.id = p_worker and p_system_info is not null)) renewed;
    if not v_renewed.alive then
        raise exception 'worker % was declared lost, and its jobs were given to others', p_worker
            using errcode = 'JQ005', hint = 'Register anew.';
    end if;
    if p_leases is not null then
        select max(lease.id)
        into v_below
        from dtsched.workers worker
        join dtsched.leases lease on lease.worker_id = worker.id
        join dtsched.jobs job on job.id = lease.job_id
        where worker.id = p_worker and job.started_at < dtsched.now() - worker.lease;
        if v_below is not null then
            perform dtsched.reconcile(p_worker, p_leases, v_below);
        end if;
    end if;
    return query
    select v_renewed.draining, v_renewed.cancelled,
        array(select dtsched.taken_away(p_worker, coalesce(p_leases, '{}')));
end $$;

-- report() of a worker over HTTP, who shows the lease's secret; p_report is as one of report()'s, without the lease. Returns
-- what came of it: told; busy: somebody holds the job's row, and it may be reported again; gone, as finish_lease() says. And
-- whether somebody asked for the job's cancellation.
-- Raises JQ004 for a worker that is not this owner's, JQ001 for what is no report. Reads leases_pkey. Locks: report's.
create or replace function dtsched.report_lease(
    p_worker uuid,
    p_owner text,
    p_lease bigint,
    p_secret text,
    p_report jsonb
)
returns table (outcome text, cancelled boolean)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_lease record;
    v_told bigint[];
begin
    perform dtsched.require_http_worker(p_worker, p_owner);
    select lease.secret, lease.cancel_requested_at
    into v_lease
    from dtsched.leases lease
    where lease.id = p_lease and (lease.worker_id = p_worker) is true;
    if not dtsched.is_secret(v_lease.secret, p_secret) then
        return query select 'gone', false;
        return;
    end if;
    v_told := array(select dtsched.tell(
        p_worker, jsonb_build_array(p_report || jsonb_build_object('lease', p_lease)), true));
    return query
    select case
            when v_told <> '{}' then 'told'
            when exists (select from dtsched.leases lease where lease.id = p_lease) then 'busy'
            else 'gone'
        end,
        v_lease.cancel_requested_at is not null;
end $$;

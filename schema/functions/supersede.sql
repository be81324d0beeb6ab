-- Gives keys to new jobs that other jobs hold: a job that waits is cancelled, one that runs has given its key up, and is told
-- to stop if p_told says so. The caller holds the rows and the leases of the jobs p_from. Raises JQ009 when one of them has
-- lost its key meanwhile. Locks: the keys, then end_unsuccessful's.
create or replace function dtsched.supersede(
    p_from bigint[], p_to bigint[], p_keys text[], p_untils timestamptz[], p_told boolean[])
returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_moved integer;
    v_workers uuid[];
    v_waiting bigint[];
begin
    update dtsched.keys taken
    set job_id = given.new_id,
        until = given.until
    from unnest(p_keys, p_from, p_to, p_untils) as given (key, old_id, new_id, until)
    where taken.key = given.key and taken.job_id = given.old_id;
    get diagnostics v_moved = row_count;
    if v_moved < cardinality(p_keys) then  -- its time was over, and somebody has taken it
        raise exception 'a holder has lost its key' using errcode = 'JQ009';
    end if;
    update dtsched.jobs job set key_until = null where job.id = any (p_from) and job.key_until is not null;

    with marked as (
        update dtsched.leases lease
        set gave_up_key = true,
            cancel_requested_at = case when given.told then coalesce(lease.cancel_requested_at, dtsched.now())
                                       else lease.cancel_requested_at end
        from unnest(p_from, p_told) as given (job_id, told)
        join dtsched.jobs job on job.id = given.job_id and job.state = 'running'
        where lease.worker_id = job.worker_id and lease.job_id = job.id
        returning lease.worker_id, given.told
    )
    select array_agg(distinct marked.worker_id) filter (where marked.told) into v_workers from marked;
    if v_workers is not null and dtsched.may_notify() then
        perform pg_notify('dtsched_cancel', worker_id::text) from unnest(v_workers) worker_id;
    end if;

    v_waiting := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_from) and job.state in ('blocked', 'scheduled', 'ready')
        order by job.id);
    if v_waiting <> '{}' then
        perform dtsched.end_unsuccessful(v_waiting, 'cancelled', 'a newer job with its key has superseded it');
    end if;
end $$;

-- Cancels jobs and says for each what came of it: cancelled (it was waiting), requested (it runs: its worker is told at once
-- and it ends cancelled), finished (it had ended before), busy (somebody holds its row: try again), missing. Jobs that
-- depend on a cancelled one are cancelled too. Called twice it changes nothing more.
--
-- An entry in ready, scheduled or parked stays and is dropped by whoever meets it. Tries three times for rows that somebody
-- holds; waits for nobody but who holds, in a transaction of his own, a job that depends on one of these.
-- Locks: leases by id SKIP LOCKED, then cancel_waiting's.
create or replace function dtsched.cancel(p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_left bigint[] := p_ids;
    v_requested bigint[] := '{}';
    v_cancelled bigint[] := '{}';
    v_now_requested bigint[];
    v_workers uuid[];
begin
    for v_try in 1..3 loop
        with running as materialized (
            select lease.id, lease.job_id, lease.worker_id
            from dtsched.leases lease
            where lease.id = any (array(
                select held.id
                from dtsched.jobs job
                cross join lateral (
                    select lease.id from dtsched.leases lease
                    where lease.worker_id = job.worker_id and lease.job_id = job.id) held
                where job.id = any (v_left) and job.state = 'running'))
            order by lease.id
            for no key update skip locked
        ),
        marked as (
            update dtsched.leases lease
            set cancel_requested_at = coalesce(lease.cancel_requested_at, dtsched.now())
            from running
            where lease.id = running.id
            returning lease.job_id, lease.worker_id
        )
        select coalesce(array_agg(marked.job_id), '{}'), array_agg(distinct marked.worker_id)
        into v_now_requested, v_workers
        from marked;
        v_requested := v_requested || v_now_requested;
        if v_workers is not null and dtsched.may_notify() then
            perform pg_notify('dtsched_cancel', worker_id::text) from unnest(v_workers) worker_id;
        end if;

        v_cancelled := v_cancelled || dtsched.cancel_waiting(v_left);

        v_left := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_left) and job.state in ('blocked', 'scheduled', 'ready', 'running')
                and job.id <> all (v_requested));
        exit when v_left = '{}';
        perform pg_sleep(0.01 * v_try);
    end loop;
    return query
    select asked.id, case
        when asked.id = any (v_cancelled) then 'cancelled'
        when asked.id = any (v_requested) then 'requested'
        when asked.id = any (v_left) then 'busy'
        when exists (select from dtsched.jobs job where job.id = asked.id) then 'finished'
        else 'missing' end
    from unnest(p_ids) asked (id);
end $$;

create or replace function dtsched.cancel(p_id bigint) returns text
language sql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.cancel(array[p_id]) $$;

-- Tells the circuit breakers of these jobs' queues and limit keys that an attempt of each has failed. To be called last in a
-- transaction's work on jobs: whoever holds these rows must not wait for others after that. What cannot be noted within the
-- caller's lock_timeout, because somebody's transaction holds the row, is not counted: hand_back() and expire() wait for nobody.
-- Locks: queues by name, limits sorted.
create or replace function dtsched.note_failures(p_jobs bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_name text;
    v_failures integer;
    v_rule jsonb;
begin
    if not exists (select from dtsched.queues queue where queue.settings ?| '{breaker,key_breaker}') then
        return;
    end if;
    for v_name, v_failures in
        select job.queue::text, count(*)
        from dtsched.jobs job
        join dtsched.queues queue on queue.name = job.queue::text
        where job.id = any (p_jobs) and queue.settings ? 'breaker'
        group by job.queue::text
        order by 1
    loop
        begin
            perform from dtsched.queues queue where queue.name = v_name for no key update;
            update dtsched.queues queue
            set failed_at = after.failed_at,
                open_until = after.open_until,
                probe_id = case when after.open_until > dtsched.now() then null else queue.probe_id end
            from dtsched.queues old
            cross join lateral dtsched.breaker_after(
                old.settings -> 'breaker', old.failed_at, v_failures, old.open_until, dtsched.now()) after
            where old.name = v_name and queue.name = v_name and old.settings ? 'breaker';
        exception
            when lock_not_available then null;
        end;
    end loop;
    for v_name, v_failures, v_rule in
        select job.limit_key::text, count(*), min((queue.settings -> 'key_breaker')::text)::jsonb
        from dtsched.jobs job
        join dtsched.queues queue on queue.name = job.queue::text
        where job.id = any (p_jobs) and job.limit_key is not null and queue.settings ? 'key_breaker'
        group by job.limit_key::text
        order by 1
    loop
        begin
            perform from dtsched.limits limited where limited.limit_key = v_name for no key update;
            update dtsched.limits limited
            set failed_at = after.failed_at,
                open_until = after.open_until,
                probe_id = case when after.open_until > dtsched.now() then null else limited.probe_id end
            from dtsched.limits old
            cross join lateral dtsched.breaker_after(v_rule, old.failed_at, v_failures, old.open_until, dtsched.now()) after
            where old.limit_key = v_name and limited.limit_key = v_name;
        exception
            when lock_not_available then null;
        end;
    end loop;
end $$;

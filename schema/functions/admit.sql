-- How many jobs of a queue with limits of its own may start now, at most p_limit. Locks the queue's row until the commit, so
-- that two claims never count the same seats; who has to wait for it longer than a tenth of a second gets none.
-- Leases from before the limit are not in the index by queue, but known to the queue's row one by one, which forgets them with time.
-- Reads leases_queue_idx, leases_pkey. Locks: the queue's row.
create or replace function dtsched.admit(p_queue text, p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_queue dtsched.queues;
    v_lock_timeout text := current_setting('lock_timeout');
    v_now timestamptz;
    v_tries integer;
    v_uncounted bigint[] := '{}';
begin
    begin
        perform set_config('lock_timeout', '100ms', true);
        select * into v_queue from dtsched.queues queue where queue.name = p_queue for no key update;
        perform set_config('lock_timeout', v_lock_timeout, true);
    exception
        when lock_not_available then return 0;
    end;
    v_now := dtsched.now();
    v_tries := dtsched.breaker_tries(v_queue.open_until, v_queue.probe_id, v_now);
    if v_tries is null and v_queue.open_until is not null then
        update dtsched.queues queue set open_until = null, probe_id = null, failed_at = '{}' where queue.name = p_queue;
    end if;
    if v_queue.uncounted <> '{}' then
        v_uncounted := array(select lease.id from dtsched.leases lease where lease.id = any (v_queue.uncounted));
        if 2 * cardinality(v_uncounted) <= cardinality(v_queue.uncounted) then
            update dtsched.queues queue set uncounted = v_uncounted where queue.name = p_queue;
        end if;
    end if;
    return greatest(0, floor(least(
        p_limit,
        (v_queue.settings ->> 'limit')::integer
            - (select count(*) from dtsched.leases lease where lease.queue = p_queue and lease.counted)
            - cardinality(v_uncounted),
        dtsched.tokens(v_queue.tokens, v_queue.refilled_at, (v_queue.settings ->> 'rate')::double precision,
                       (v_queue.settings ->> 'burst')::integer, v_now),
        v_tries)));
end $$;

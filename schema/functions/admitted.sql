-- Notes what admit() has let start in a queue: takes the tokens, and makes the probe of an open breaker known. Where more
-- jobs wait and lack nothing but time, wakes the queue then. The claim holds the queue's row. Locks: wakes.
create or replace function dtsched.admitted(p_queue text, p_room integer, p_limit integer, p_started bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_queue dtsched.queues;
    v_now timestamptz := dtsched.now();
    v_rate double precision;
    v_tokens double precision;
    v_at timestamptz;
begin
    select * into v_queue from dtsched.queues queue where queue.name = p_queue;
    v_rate := (v_queue.settings ->> 'rate')::double precision;
    v_tokens := dtsched.tokens(v_queue.tokens, v_queue.refilled_at, v_rate, (v_queue.settings ->> 'burst')::integer, v_now)
        - cardinality(p_started);
    if p_started <> '{}' and (v_rate is not null or v_queue.open_until is not null) then
        update dtsched.queues queue
        set tokens = v_tokens,
            refilled_at = case when v_rate is not null then v_now end,
            probe_id = case when queue.open_until is not null then p_started[1] end
        where queue.name = p_queue;
    end if;
    if cardinality(p_started) = p_room and p_room < p_limit
        and exists (select from dtsched.ready entry where entry.queue = p_queue) then
        v_at := case
            when v_queue.open_until > v_now then v_queue.open_until
            -- a fast bucket is looked at fifty times a second, not for every token
            when v_tokens < 1 then v_now + make_interval(secs => greatest(0.02, (1 - v_tokens) / v_rate)) end;
        if v_at is not null then
            perform dtsched.wake_later(p_queue, array[null]::text[], array[v_at]);
        end if;
    end if;
end $$;

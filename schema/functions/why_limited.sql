-- why() of a ready job as far as limits keep it back: those of its queue, then those of its limit key, then the jobs of its key
-- that go before it.
create or replace function dtsched.why_limited(p_queue text, p_limit_key text, p_id bigint)
returns table (code text, reason text)
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := dtsched.now();
    v_queue dtsched.queues;
    v_key dtsched.limits;
    v_running bigint;
    v_limit integer;
    v_rate double precision;
    v_tokens double precision;
    v_ahead bigint;
begin
    select * into v_queue from dtsched.queues queue where queue.name = p_queue;
    if dtsched.breaker_tries(v_queue.open_until, v_queue.probe_id, v_now) = 0 then
        return query select 'breaker', dtsched.why_breaker('queue ' || p_queue, v_queue.open_until, v_queue.probe_id, v_now);
    end if;
    v_limit := (v_queue.settings ->> 'limit')::integer;
    v_running := (select count(*) from dtsched.leases lease where lease.queue = p_queue and lease.counted)
        + (select count(*) from dtsched.leases lease where lease.id = any (v_queue.uncounted));
    if v_running >= v_limit then
        return query select 'limit', format('queue %s runs as many jobs as it may: %s of %s', p_queue, v_running, v_limit);
    end if;
    v_rate := (v_queue.settings ->> 'rate')::double precision;
    v_tokens := dtsched.tokens(v_queue.tokens, v_queue.refilled_at, v_rate, (v_queue.settings ->> 'burst')::integer, v_now);
    if v_tokens < 1 then
        return query select 'rate', format('the rate of queue %s (%s a second) is used up until %s', p_queue, v_rate,
            v_now + make_interval(secs => (1 - v_tokens) / v_rate));
    end if;
    if p_limit_key is null then
        return;
    end if;

    select * into v_key from dtsched.limits limited where limited.limit_key = p_limit_key;
    if dtsched.breaker_tries(v_key.open_until, v_key.probe_id, v_now) = 0 then
        return query select 'breaker',
            dtsched.why_breaker('limit key ' || p_limit_key, v_key.open_until, v_key.probe_id, v_now);
    end if;
    v_limit := coalesce(v_key.concurrency, (v_queue.settings ->> 'key_limit')::integer, 1);
    select count(*) into v_running from dtsched.leases lease where lease.limit_key = p_limit_key;
    if v_running >= v_limit then
        return query
        select 'limit', format('limit key %s runs as many jobs as it may: %s of %s%s', p_limit_key, v_running, v_limit,
            ', held by ' || string_agg(format('job %s on worker %s', holder.job_id, holder.name), ', ' order by holder.job_id)
            || case when v_running > 3 then ', …' else '' end)
        from (select lease.job_id, coalesce(worker.name, lease.worker_id::text) as name
              from dtsched.leases lease
              left join dtsched.workers worker on worker.id = lease.worker_id
              where lease.limit_key = p_limit_key
              order by lease.job_id
              limit 3) holder;
    end if;
    v_rate := coalesce(v_key.rate, (v_queue.settings ->> 'key_rate')::double precision);
    v_tokens := dtsched.tokens(v_key.tokens, v_key.refilled_at, v_rate,
                               coalesce(v_key.burst, (v_queue.settings ->> 'key_burst')::integer), v_now);
    if v_tokens < 1 then
        return query select 'rate', format('the rate of limit key %s (%s a second) is used up until %s', p_limit_key, v_rate,
            v_now + make_interval(secs => (1 - v_tokens) / v_rate));
    end if;
    if v_running >= v_limit or v_tokens < 1 then
        select count(*)
        into v_ahead
        from (select
              from dtsched.parked entry
              join dtsched.parked own on own.job_id = p_id
              where entry.limit_key = p_limit_key and entry.queue = p_queue and entry.reason = 'limit'
                  and (entry.priority > own.priority or entry.priority = own.priority and entry.job_id < p_id)
              limit 1000) ahead;
        if v_ahead > 0 then
            return query select 'behind', case
                when v_ahead >= 1000 then '1000 jobs or more of its limit key go before it'
                when v_ahead = 1 then 'a job of its limit key goes before it'
                else v_ahead || ' jobs of its limit key go before it' end;
        end if;
    end if;
end $$;

-- The limits that hold for a limit key among the jobs of a queue: what was set for it, else what the queue's settings say
-- (key_limit, key_rate, key_burst), else one at a time. rate and burst are null without a rate. Reads limits_pkey, queues_pkey.
create or replace function dtsched.effective_limits(p_key text, p_queue text default 'default')
returns table (queue text, concurrency integer, rate double precision, burst integer)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select p_queue, coalesce(limited.concurrency, (queue.settings ->> 'key_limit')::integer, 1), held.rate,
        case when held.rate is not null
             then coalesce(limited.burst, (queue.settings ->> 'key_burst')::integer, greatest(ceil(held.rate), 1)::integer) end
    from (select) one
    left join dtsched.limits limited on limited.limit_key = p_key
    left join dtsched.queues queue on queue.name = p_queue
    cross join lateral (
        select coalesce(limited.rate, (queue.settings ->> 'key_rate')::double precision) as rate) held
$$;

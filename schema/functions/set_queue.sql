-- Changes settings of a queue, those named and no others, and returns all that it has then; null takes one away, and the parts
-- of retention are changed one by one too. A queue that nobody has named yet comes to exist by this. Claims heed it from the next
-- one on: what runs already is counted, and goes on.
-- Raises JQ001 for a bad name or a bad setting (see settings_problem). Locks: if it sets a limit, the queue's gate, and if it changes
-- what holds for keys, that for keys: each waits for claims under way, and those that come until the commit get nothing; then
-- the queue's row.
--
--   limit              jobs of the queue that run at once, over all workers
--   rate, burst        jobs a second that start, and how many at once after a quiet while (a second's worth)
--   key_limit, key_rate, key_burst   the same of each limit key that has no limits of its own (key_limit: 1)
--   aging              seconds after which a job goes before younger ones of a higher priority (600)
--   breaker, key_breaker             {"failures": n, "within": seconds, "cooldown": seconds}: nothing starts after so many failures
--   max_attempts, timeout, retention what holds for jobs that do not say it themselves
create or replace function dtsched.set_queue(p_queue text, p_settings jsonb) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_problem text := dtsched.settings_problem(p_settings);
    v_uncounted bigint[];
    v_settings jsonb;
begin
    perform dtsched.require_read_committed();
    perform dtsched.require_queue_name(p_queue);
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    if p_settings ?| '{key_limit,key_rate,key_burst,key_breaker}' then  -- see take_limited
        perform pg_advisory_xact_lock(dtsched.gate() + 6, hashtext(p_queue));
    end if;
    if nullif(p_settings -> 'limit', 'null') is not null then
        -- No claim is left now that has not seen a limit, and none comes before this one is there for all to see: so no lease of
        -- a queue with a limit goes uncounted. Whatever limit there may be already is not looked at: it may be on its way out.
        perform pg_advisory_xact_lock(dtsched.gate() + 3, hashtext(p_queue));
        v_uncounted := array(
            select lease.id from dtsched.leases lease where lease.queue = p_queue and not lease.counted);
    end if;
    insert into dtsched.queues (name, settings, uncounted)
    values (p_queue, jsonb_strip_nulls(p_settings), coalesce(v_uncounted, '{}'))
    on conflict (name) do update
    set settings = jsonb_strip_nulls(queues.settings || p_settings || case jsonb_typeof(p_settings -> 'retention')
            when 'object' then jsonb_build_object('retention', nullif(jsonb_strip_nulls(
                coalesce(queues.settings -> 'retention', '{}') || (p_settings -> 'retention')), '{}'))
            else '{}' end),
        uncounted = case when p_settings ? 'limit' then coalesce(v_uncounted, '{}') else queues.uncounted end,
        tokens = null,
        refilled_at = null,
        open_until = case when p_settings ? 'breaker' then null else queues.open_until end,
        probe_id = case when p_settings ? 'breaker' then null else queues.probe_id end,
        failed_at = case when p_settings ? 'breaker' then '{}' else queues.failed_at end
    returning settings
    into v_settings;
    perform dtsched.look_at(p_queue);
    return v_settings;
end $$;

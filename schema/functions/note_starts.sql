-- Notes which jobs of watched limit keys a claim has started: takes their tokens, closes the breaker of a key whose probe has
-- completed, and makes the probe of an open one known. The claim holds the keys' rows.
create or replace function dtsched.note_starts(p_queue text, p_keys text[], p_started bigint[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_now timestamptz := dtsched.now();
begin
    update dtsched.limits limited
    set tokens = dtsched.tokens(limited.tokens, limited.refilled_at, rule.rate, rule.burst, v_now) - started.jobs,
        refilled_at = case when rule.rate is not null then v_now end,
        open_until = case when rule.tries is not null then limited.open_until end,
        probe_id = case when rule.tries is not null then started.first end,
        failed_at = case when rule.tries is null and limited.open_until is not null then '{}' else limited.failed_at end
    from (
        select job.limit_key::text as limit_key, count(*) as jobs, min(job.id) as first
        from dtsched.jobs job
        where job.id = any (p_started) and job.limit_key = any (p_keys)
        group by job.limit_key::text) started
    join dtsched.limits old on old.limit_key = started.limit_key
    left join dtsched.queues queue on queue.name = p_queue
    cross join lateral (
        select coalesce(old.rate, (queue.settings ->> 'key_rate')::double precision) as rate,
            coalesce(old.burst, (queue.settings ->> 'key_burst')::integer) as burst,
            dtsched.breaker_tries(old.open_until, old.probe_id, v_now) as tries) rule
    where limited.limit_key = started.limit_key;
end $$;

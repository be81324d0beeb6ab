-- finish() and the next claim() in one round trip and one commit. A row whose job_id is null names a lease that was refused
-- because it is gone. Raises what claim() raises; nothing is finished then, and finish() alone may be called.
create or replace function dtsched.work(
    p_worker uuid,
    p_done bigint[],
    p_results jsonb,
    p_others jsonb,
    p_queue text,
    p_limit integer,
    p_tasks text[] default null,
    p_slots integer default null
)
returns table (
    lease_id bigint,
    job_id bigint,
    task text,
    args jsonb,
    attempt integer,
    max_attempts integer,
    timeout_seconds double precision,
    correlation_id text,
    backoff jsonb
)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_given bigint[] := p_done;
    v_accepted bigint[];
begin
    if p_others is not null then
        v_given := v_given || array(select (other ->> 'lease')::bigint from jsonb_array_elements(p_others) other);
    end if;
    if v_given <> '{}' then
        v_accepted := array(select dtsched.finish(p_worker, p_done, p_results, p_others));
        if cardinality(v_accepted) < cardinality(v_given) then
            return query
            select given, null::bigint, null::text, null::jsonb, null::integer, null::integer, null::double precision,
                null::text, null::jsonb
            from unnest(v_given) given
            where given <> all (v_accepted);
        end if;
    end if;
    if p_limit > 0 then
        return query
        select claimed.lease_id, claimed.job_id, claimed.task, claimed.args, claimed.attempt, claimed.max_attempts,
            claimed.timeout_seconds, claimed.correlation_id, claimed.backoff
        from dtsched.claim(p_worker, p_queue, p_limit, p_tasks, p_slots) claimed;
    end if;
end $$;

-- Has new jobs of a plain INSERT hold their keys, or raises a unique violation that names the first key which is held and the
-- job that holds it. The keys come sorted. Locks: the keys, in that order.
create or replace function dtsched.hold_keys(p_keys text[], p_jobs bigint[], p_untils timestamptz[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_held integer;
    v_key text;
    v_holder bigint;
begin
    if exists (select from dtsched.keys taken where taken.key = any (p_keys) and taken.until is not null) then
        select count(*) filter (where dtsched.take_key(new.key, new.job_id, new.until))
        into v_held
        from unnest(p_keys, p_jobs, p_untils) as new (key, job_id, until);
    else
        insert into dtsched.keys (key, job_id, until)
        select new.key, new.job_id, new.until
        from unnest(p_keys, p_jobs, p_untils) as new (key, job_id, until)
        order by new.key
        on conflict do nothing;
        get diagnostics v_held = row_count;
    end if;
    if v_held = cardinality(p_keys) then
        return;
    end if;
    select new.key, taken.job_id
    into v_key, v_holder
    from unnest(p_keys, p_jobs) as new (key, job_id)
    left join dtsched.keys taken on taken.key = new.key
    where taken.job_id is distinct from new.job_id
    order by new.key
    limit 1;
    raise exception 'the key % is held by %', dtsched.shown(to_jsonb(v_key)), coalesce('job ' || v_holder, 'another job')
        using errcode = 'unique_violation', schema = 'dtsched', table = 'keys', constraint = 'keys_pkey',
            detail = format('Key (key)=(%s) already exists.', v_key),
            hint = 'dtsched.submit() keeps the job that holds it, or with on_conflict replaces or supersedes it.';
end $$;

-- What is wrong with the settings that a task declares, in one sentence, or null. Those that its jobs take over are held to
-- the limits of a job's own.
create or replace function dtsched.task_problem(p_task text, p_settings jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_problem text;
    v_crashes jsonb := p_settings -> 'max_crashes';
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return format('the settings of a task must be an object, not %s', coalesce(jsonb_typeof(p_settings), 'null'));
    end if;
    select dtsched.job_problem(coalesce(jsonb_object_agg(setting.key, setting.value), '{}') || jsonb_build_object('task', p_task))
    into v_problem
    from jsonb_each(p_settings) setting
    where setting.key in ('queue', 'priority', 'max_attempts', 'timeout', 'backoff');
    if v_problem is not null then
        return v_problem;
    end if;
    if v_crashes <> 'null' and v_crashes::text !~ '^([1-9][0-9]{0,2}|1000)$' then
        return format('max_crashes must be 1 to 1000, not %s', dtsched.shown(v_crashes));
    end if;
    if coalesce(p_settings -> 'result_ttl', 'null') <> 'null' and dtsched.retention_seconds(p_settings, 'result_ttl') is null then
        return format('result_ttl must be 0 to 36600 days, in seconds, or "forever", not %s',
                      dtsched.shown(p_settings -> 'result_ttl'));
    end if;
    return null;
end $$;

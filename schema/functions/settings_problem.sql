-- What is wrong with the settings of a queue as set_queue() is given them, in one sentence, or null. A setting that is null is
-- as it is by default.
create or replace function dtsched.settings_problem(p_settings jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_name text;
    v_value jsonb;
    v_whole constant text := '^[0-9]{1,9}$';
    v_seconds constant numeric := 366 * 86400;
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return format('settings must be an object, not %s', coalesce(dtsched.shown(p_settings), 'null'));
    end if;
    for v_name, v_value in select key, value from jsonb_each(p_settings) loop
        continue when jsonb_typeof(v_value) = 'null';
        if v_name in ('limit', 'key_limit') then
            if v_value::text !~ v_whole then
                return format('%s must be a whole number of jobs from 0, not %s', v_name, dtsched.shown(v_value));
            end if;
        elsif v_name in ('burst', 'key_burst') then
            if v_value::text !~ v_whole or v_value::text::integer = 0 then
                return format('%s must be a whole number of jobs from 1, not %s', v_name, dtsched.shown(v_value));
            end if;
        elsif v_name in ('rate', 'key_rate') then
            if jsonb_typeof(v_value) <> 'number' or v_value::numeric < 0.000001 or v_value::numeric > 1000000 then
                return format('%s must be a number of jobs a second from 0.000001 to 1000000, not %s', v_name,
                              dtsched.shown(v_value));
            end if;
        elsif v_name = 'aging' then
            if jsonb_typeof(v_value) <> 'number' or v_value::numeric < 1 or v_value::numeric > 30 * 86400 then
                return format('aging must be 1 second to 30 days, in seconds, not %s', dtsched.shown(v_value));
            end if;
        elsif v_name = 'max_attempts' then
            if v_value::text !~ '^([1-9][0-9]{0,2}|1000)$' then
                return format('max_attempts must be 1 to 1000, not %s', dtsched.shown(v_value));
            end if;
        elsif v_name = 'timeout' then
            if jsonb_typeof(v_value) <> 'number' or v_value::numeric <= 0 or v_value::numeric > v_seconds then
                return format('timeout must be over 0 and at most 366 days, in seconds, not %s', dtsched.shown(v_value));
            end if;
        elsif v_name in ('breaker', 'key_breaker') then
            if jsonb_typeof(v_value) <> 'object'
                or (select count(*) from jsonb_object_keys(v_value)) <> 3
                or (v_value -> 'failures')::text !~ '^([1-9][0-9]{0,2}|1000)$' is not false
                or jsonb_typeof(v_value -> 'within') is distinct from 'number'
                or jsonb_typeof(v_value -> 'cooldown') is distinct from 'number'
                or (v_value -> 'within')::numeric not between 0.001 and v_seconds
                or (v_value -> 'cooldown')::numeric not between 0.001 and v_seconds then
                return format('%s must be an object of failures (1 to 1000), within and cooldown (seconds over 0, at most 366 '
                              'days), not %s', v_name, dtsched.shown(v_value));
            end if;
        elsif v_name = 'retention' then
            if jsonb_typeof(v_value) <> 'object'
                or exists (select from jsonb_each(v_value) part
                           where part.key not in ('completed', 'failed', 'cancelled', 'results')
                               or part.value not in ('null', '"forever"')
                                   and (jsonb_typeof(part.value) <> 'number'
                                        or case jsonb_typeof(part.value) when 'number'
                                           then part.value::numeric not between 0 and 100 * v_seconds end)) then
                return format('retention must be an object of completed, failed, cancelled and results, each in seconds or '
                              '"forever", not %s', dtsched.shown(v_value));
            end if;
        else
            return format('there is no setting %s: known are limit, rate, burst, key_limit, key_rate, key_burst, aging, '
                          'max_attempts, timeout, retention, breaker, key_breaker', dtsched.shown(to_jsonb(v_name)));
        end if;
    end loop;
    return null;
end $$;

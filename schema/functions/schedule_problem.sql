-- What is wrong with a schedule as save_schedule() is given it, in one sentence, or null. Of the spec only the shape is looked
-- at: what its fields mean is for the processes that compute its times, which note what they find (note_schedule_problem()).
create or replace function dtsched.schedule_problem(p_name text, p_schedule jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_field text;
    v_value jsonb;
    v_text text;
    v_job jsonb := '{}';
begin
    if p_name is null or p_name !~ '^[A-Za-z0-9._:-]+$' or octet_length(p_name) > 128 then
        return format('name must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %s', dtsched.shown(to_jsonb(p_name)));
    end if;
    if jsonb_typeof(p_schedule) is distinct from 'object' then
        return format('a schedule must be an object, not %s', coalesce(jsonb_typeof(p_schedule), 'null'));
    end if;
    if coalesce(p_schedule -> 'spec', 'null') = 'null' then
        return 'spec is missing: say when it is to fire';
    end if;
    for v_field, v_value in select key, value from jsonb_each(p_schedule) loop
        continue when v_value = 'null' and v_field <> 'task';
        v_text := case jsonb_typeof(v_value) when 'string' then v_value #>> '{}' end;
        if v_field in ('task', 'args', 'queue', 'priority', 'max_attempts', 'timeout', 'limit_key', 'tags', 'backoff') then
            v_job := v_job || jsonb_build_object(v_field, v_value);
        elsif v_field = 'spec' then
            if v_text like 'every %' then
                if v_text !~ '^every [0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h|d)$' then
                    return format('spec must be an interval of whole seconds from 1s to 366d, like ''every 10m'', not %s',
                                  dtsched.shown(v_value));
                end if;
            elsif v_text is null or char_length(v_text) > 200
                or v_text !~ '^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4,5}$'
                    and lower(v_text) not in ('@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly') then
                return format('spec must be cron fields (minute hour day month weekday, or second before them), @daily, '
                              '@hourly, @weekly, @monthly or @yearly, or an interval like ''every 10m'', not %s',
                              dtsched.shown(v_value));
            end if;
        elsif v_field = 'tz' then
            if v_text is null
                or v_text <> 'UTC' and not exists (select from pg_timezone_names zone where zone.name = v_text) then
                return format('tz must be the name of a time zone like Europe/Berlin, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'catchup' then
            if v_text is null or v_text not in ('skip', 'latest', 'all') then
                return format('catchup must be skip, latest or all, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'catchup_limit' then
            if jsonb_typeof(v_value) <> 'number' or v_value::text !~ '^([1-9][0-9]{0,2}|1000)$' then
                return format('catchup_limit must be 1 to 1000, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'overlap' then
            if v_text is null or v_text not in ('allow', 'skip', 'cancel') then
                return format('overlap must be allow, skip or cancel, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'tolerance' then
            if jsonb_typeof(v_value) <> 'number' or v_value::numeric < 0 or v_value::numeric > 366 * 86400 then
                return format('tolerance must be 0 to 366 days, in seconds, not %s', dtsched.shown(v_value));
            end if;
        else
            return format('there is no field %s', dtsched.shown(to_jsonb(v_field)));
        end if;
    end loop;
    return dtsched.job_problem(v_job);
end $$;

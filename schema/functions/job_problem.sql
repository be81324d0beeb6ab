-- What is wrong with a job as submit_many() is given it, in one sentence, or null. The domains of jobs guard the same limits
-- for a plain INSERT; this says it to a person, before anything is written.
create or replace function dtsched.job_problem(p_job jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_field text;
    v_value jsonb;
    v_type text;
    v_iso_time constant text :=
        '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ][0-9:.]+)?( ?(Z|[+-][0-9:]+))?$';
begin
    if jsonb_typeof(p_job) <> 'object' then
        return format('a job must be an object, not %s', jsonb_typeof(p_job));
    end if;
    if p_job -> 'task' is null then
        return 'task is missing: name the task that is to run';
    end if;
    for v_field, v_value in select key, value from jsonb_each(p_job) loop
        v_type := jsonb_typeof(v_value);
        continue when v_type = 'null' and v_field <> 'task';
        if v_field in ('task', 'queue') then
            if v_type <> 'string' or v_value #>> '{}' !~ '^[A-Za-z0-9._:-]+$' or octet_length(v_value #>> '{}') > 128 then
                return format('%s must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %s', v_field,
                              dtsched.shown(v_value));
            end if;
        elsif v_field in ('key', 'limit_key') then
            if v_type <> 'string' or char_length(v_value #>> '{}') not between 1 and 255
                or v_value #>> '{}' ~ '[\u0001-\u001f\u007f]' then
                return format('%s must be 1 to 255 characters without control characters, not %s', v_field,
                              dtsched.shown(v_value));
            end if;
        elsif v_field = 'key_for' then
            if v_value not in ('"unfinished"', '"kept"')
                and (v_type <> 'number' or v_value::numeric <= 0 or v_value::numeric > 366 * 86400) then
                return format('key_for must be unfinished, kept, or over 0 and at most 366 days, in seconds, not %s',
                              dtsched.shown(v_value));
            elsif coalesce(p_job -> 'key', 'null') = 'null' then
                return 'key_for needs a key: give one, or leave key_for out';
            end if;
        elsif v_field = 'on_conflict' then
            if v_value not in ('"keep"', '"replace"', '"reject"', '"supersede"') then
                return format('on_conflict must be keep, replace, reject or supersede, not %s', dtsched.shown(v_value));
            elsif coalesce(p_job -> 'key', 'null') = 'null' then
                return 'on_conflict needs a key: give one, or leave on_conflict out';
            elsif v_value = '"replace"' and p_job -> 'depends_on' not in ('null', '[]') then
                return 'on_conflict replace leaves what the waiting job depends on as it is: leave depends_on out, or use '
                       'supersede';
            end if;
        elsif v_field = 'correlation_id' then
            if v_type <> 'string' or char_length(v_value #>> '{}') not between 1 and 128 then
                return format('correlation_id must be 1 to 128 characters, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'priority' then
            if v_type <> 'number' or v_value::text !~ '^([1-9]|10)$' then
                return format('priority must be 1 to 10, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'max_attempts' then
            if v_type <> 'number' or v_value::text !~ '^([1-9][0-9]{0,2}|1000)$' then
                return format('max_attempts must be 1 to 1000, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field in ('timeout', 'expires_in') then
            if v_type <> 'number' or v_value::numeric <= 0.0000005 or v_value::numeric > 366 * 86400 then  -- an interval has microseconds
                return format('%s must be over 0 and at most 366 days, in seconds, not %s', v_field, dtsched.shown(v_value));
            end if;
        elsif v_field = 'delay' then
            if v_type <> 'number' or v_value::numeric < 0 or v_value::numeric > 366 * 86400 then
                return format('delay must be 0 to 366 days, in seconds, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field in ('run_at', 'deadline') then
            if v_type <> 'string' or v_value #>> '{}' !~ v_iso_time or not dtsched.is_time(v_value #>> '{}') then
                return format('%s must be a finite time from 1970 to 9999, as in 2030-01-31T09:00:00Z, not %s', v_field,
                              dtsched.shown(v_value));
            end if;
        elsif v_field = 'args' then
            if v_type <> 'object' then
                return format('args must be an object of named arguments, not %s', dtsched.shown(v_value));
            elsif octet_length(v_value::text) > 1048576 then
                return format('args must be at most 1 MiB (1048576 bytes) as text, not %s bytes: store the data elsewhere and '
                              'pass a reference', octet_length(v_value::text));
            end if;
        elsif v_field = 'tags' then
            if v_type <> 'array' or jsonb_array_length(v_value) > 20
                or exists (select from jsonb_array_elements(v_value) tag
                           where jsonb_typeof(tag) <> 'string' or char_length(tag #>> '{}') not between 1 and 64) then
                return format('tags must be at most 20 strings of 1 to 64 characters, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'depends_on' then
            if dtsched.parents_problem(v_value) is not null then
                return dtsched.parents_problem(v_value);
            end if;
        elsif v_field = 'on_parent_failure' then
            if v_value not in ('"cancel"', '"run"', '"skip"') then
                return format('on_parent_failure must be cancel, run or skip, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'workflow' then
            if v_type <> 'number' or v_value::text !~ '^[1-9][0-9]{0,17}$' then
                return format('workflow must be the id of a workflow, not %s', dtsched.shown(v_value));
            end if;
        elsif v_field = 'backoff' then
            if v_type <> 'object' or v_value ->> 'kind' is null or v_value ->> 'kind' not in ('fixed', 'linear', 'exponential')
                or exists (select from jsonb_each(v_value) part
                           where case when part.key = 'kind' then false
                                      when part.key not in ('base', 'cap', 'jitter') then true
                                      when jsonb_typeof(part.value) <> 'number' then true
                                      else part.value::numeric not between 0
                                          and case part.key when 'jitter' then 1 else 366 * 86400 end end) then
                return format('backoff must be an object of kind (fixed, linear or exponential), base and cap (0 to 366 days, '
                              'in seconds) and jitter (0 to 1), not %s', dtsched.shown(v_value));
            end if;
        else
            return format('there is no field %s', dtsched.shown(to_jsonb(v_field)));
        end if;
    end loop;
    if jsonb_typeof(p_job -> 'depends_on') = 'array' and jsonb_path_exists(p_job -> 'args', '$.*."$parent"') then
        v_field := dtsched.reference_problem(p_job -> 'args', jsonb_array_length(p_job -> 'depends_on'));
        if v_field is not null then
            return v_field;
        end if;
    end if;
    if jsonb_typeof(p_job -> 'delay') = 'number' and jsonb_typeof(p_job -> 'run_at') = 'string' then
        return 'delay and run_at exclude each other: give one';
    end if;
    if jsonb_typeof(p_job -> 'expires_in') = 'number' and jsonb_typeof(p_job -> 'deadline') = 'string' then
        return 'expires_in and deadline exclude each other: give one';
    end if;
    return null;
end $$;

-- What is wrong with a depends_on as submit_many() is given it, in one sentence, or null; see job_problem().
create or replace function dtsched.parents_problem(p_parents jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_parent jsonb;
begin
    if jsonb_typeof(p_parents) <> 'array' or jsonb_array_length(p_parents) > 100000
        or exists (select from jsonb_array_elements(p_parents) parent
                   where case jsonb_typeof(parent)
                       when 'string' then char_length(parent #>> '{}') not between 1 and 255
                           or parent #>> '{}' ~ '[\u0001-\u001f\u007f]'
                       when 'object' then false
                       else parent::text !~ '^[1-9][0-9]{0,17}$' end) then
        return format('depends_on must be at most 100000 job ids and keys, not %s', dtsched.shown(p_parents));
    end if;
    for v_parent in select parent from jsonb_array_elements(p_parents) parent where jsonb_typeof(parent) = 'object' loop
        if (v_parent ? 'job') = (v_parent ? 'entry') or v_parent - '{job,entry,on_failure}'::text[] <> '{}' then
            return format('an object in depends_on must be like {"job": 17, "on_failure": "run"} or {"entry": 1}, not %s',
                          dtsched.shown(v_parent));
        elsif coalesce(v_parent -> 'on_failure', '"run"') not in ('"cancel"', '"run"', '"skip"', 'null') then
            return format('on_failure must be cancel, run or skip, not %s', dtsched.shown(v_parent -> 'on_failure'));
        elsif v_parent ? 'entry' and v_parent ->> 'entry' !~ '^[1-9][0-9]{0,8}$'
            or jsonb_typeof(coalesce(v_parent -> 'entry', '1')) <> 'number' then
            return format('an entry in depends_on must be the number of a job of the batch, from 1, not %s',
                          dtsched.shown(v_parent -> 'entry'));
        elsif v_parent ? 'job' and (jsonb_typeof(v_parent -> 'job') = 'object'
                                    or dtsched.parents_problem(jsonb_build_array(v_parent -> 'job')) is not null) then
            return format('depends_on must be at most 100000 job ids and keys, not %s', dtsched.shown(v_parent -> 'job'));
        end if;
    end loop;
    return null;
end $$;

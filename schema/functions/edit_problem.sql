-- What is wrong with changes as edit() is given them, in one sentence, or null.
create or replace function dtsched.edit_problem(p_changes jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_name text;
begin
    if p_changes is null or jsonb_typeof(p_changes) <> 'object' or p_changes = '{}' then
        return format('say what to change, as in {"priority": 9}, not %s', coalesce(dtsched.shown(p_changes), 'null'));
    end if;
    for v_name in select jsonb_object_keys(p_changes) loop
        if v_name not in ('args', 'merge_args', 'queue', 'priority', 'max_attempts', 'timeout', 'tags', 'limit_key', 'deadline')
        then
            return format('args, merge_args, queue, priority, max_attempts, timeout, tags, limit_key and deadline can be '
                          'changed, not %s', dtsched.shown(to_jsonb(v_name)));
        elsif p_changes -> v_name = 'null' and v_name not in ('timeout', 'limit_key', 'deadline') then
            return format('%s must have a value, not null', v_name);
        end if;
    end loop;
    if p_changes -> 'args' is not null and p_changes -> 'merge_args' is not null then
        return 'args and merge_args exclude each other: give one';
    elsif p_changes -> 'merge_args' is not null and jsonb_typeof(p_changes -> 'merge_args') <> 'object' then
        return format('merge_args must be an object of named arguments, not %s', dtsched.shown(p_changes -> 'merge_args'));
    end if;
    return dtsched.job_problem(jsonb_build_object('task', 'any') || (p_changes - 'merge_args'));
end $$;

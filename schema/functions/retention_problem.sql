-- What is wrong with a retention as a queue's settings hold it, in one sentence, or null.
create or replace function dtsched.retention_problem(p_retention jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_name text;
    v_value jsonb;
begin
    if p_retention is null or jsonb_typeof(p_retention) <> 'object' then
        return format('retention must be an object of completed, failed, cancelled and results, not %s',
                      coalesce(dtsched.shown(p_retention), 'null'));
    end if;
    for v_name, v_value in select key, value from jsonb_each(p_retention) loop
        if v_name not in ('completed', 'failed', 'cancelled', 'results') then
            return format('retention has completed, failed, cancelled and results, and no %s',
                          dtsched.shown(to_jsonb(v_name)));
        end if;
        continue when v_value in ('null', '"forever"');
        if jsonb_typeof(v_value) <> 'number' or v_value::numeric not between 0 and 36600 * 86400::numeric then
            return format('retention.%s must be 0 to 36600 days, in seconds, or "forever", not %s', v_name,
                          dtsched.shown(v_value));
        end if;
    end loop;
    return null;
end $$;

-- What is wrong with a line that report() was given, as a sentence; null when nothing is.
create or replace function dtsched.line_problem(p_line jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if jsonb_typeof(p_line) <> 'object' then
        return format('a line must be an object like {"level": "info", "message": "text"}, not %s', dtsched.shown(p_line));
    elsif jsonb_typeof(p_line -> 'message') is distinct from 'string' then
        return format('message must be text, not %s', coalesce(dtsched.shown(p_line -> 'message'), 'null'));
    elsif p_line ->> 'level' not in ('debug', 'info', 'warning', 'error', 'critical') then
        return format('level must be debug, info, warning, error or critical, not %s', dtsched.shown(p_line -> 'level'));
    elsif jsonb_typeof(p_line -> 'logger') not in ('string', 'null') then
        return format('logger must be text, not %s', dtsched.shown(p_line -> 'logger'));
    elsif jsonb_typeof(p_line -> 'ago') not in ('number', 'null') then
        return format('ago must be 0 to 366 days in seconds, not %s', dtsched.shown(p_line -> 'ago'));
    elsif (p_line ->> 'ago')::numeric not between 0 and 366 * 86400 then
        return format('ago must be 0 to 366 days in seconds, not %s', dtsched.shown(p_line -> 'ago'));
    elsif p_line ? 'seq' and p_line ->> 'seq' !~ '^[1-9][0-9]{0,8}$' then
        return format('seq must be a whole number from 1 to 999999999, not %s', dtsched.shown(p_line -> 'seq'));
    elsif p_line - '{message,level,logger,ago,seq}'::text[] <> '{}' then
        return format('a line has no other members than message, level, logger, ago and seq: %s',
                      dtsched.shown(p_line - '{message,level,logger,ago,seq}'::text[]));
    end if;
    return null;
end $$;

-- Whether a text that looks like a time is one: there is no 30th of February, and 1970 begins in UTC.
create or replace function dtsched.is_time(p_text text) returns boolean
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    return p_text::dtsched.instant is not null;
exception
    when data_exception or check_violation then
        return false;
end $$;

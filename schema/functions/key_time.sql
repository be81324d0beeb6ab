-- What submit_many() takes for key_for out of what a person writes: seconds for an interval, anything else as it is.
create or replace function dtsched.key_time(p_text text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
begin
    if p_text in ('unfinished', 'kept') then
        return to_jsonb(p_text);
    end if;
    return to_jsonb(extract(epoch from p_text::interval));
exception
    when data_exception then  -- job_problem() says so
        return to_jsonb(p_text);
end $$;

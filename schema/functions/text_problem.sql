-- What is wrong with a text that has to be like a key, in one sentence, or null.
create or replace function dtsched.text_problem(p_field text, p_value text) returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case when p_value is null or char_length(p_value) not between 1 and 255 or p_value ~ '[\u0001-\u001f\u007f]'
        then format('%s must be 1 to 255 characters without control characters, not %s', p_field,
                    coalesce(dtsched.shown(to_jsonb(p_value)), 'null')) end
$$;

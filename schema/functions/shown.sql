-- A value as an error message shows it: JSON, cut to 60 characters.
create or replace function dtsched.shown(p_value jsonb) returns text
language sql immutable
as $$
    select case when char_length(p_value::text) > 60 then left(p_value::text, 57) || '...' else p_value::text end
$$;

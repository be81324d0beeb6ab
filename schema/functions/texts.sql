-- The elements of a JSON array as text; null without one.
create or replace function dtsched.texts(p_array jsonb) returns text[]
language sql immutable
as $$ select case when p_array is not null then array(select jsonb_array_elements_text(p_array)) end $$;

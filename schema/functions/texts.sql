-- The elements of a JSON array as text, or a single value as an array of it; null of null.
create or replace function dtsched.texts(p_array jsonb) returns text[]
language sql immutable
as $$
    select case jsonb_typeof(p_array)
        when 'array' then array(select jsonb_array_elements_text(p_array))
        when 'null' then null
        else array[p_array #>> '{}'] end
    where p_array is not null
$$;

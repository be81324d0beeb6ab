-- What errors of one kind have in common: the first line of one, with what differs from job to job put as <uuid>, <text> (what
-- stands in quotes), <hex> and <n>. The type of the error, before the first colon, stays as it is.
create or replace function dtsched.error_shape(p_error text) returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select left(coalesce(said.type, '') || regexp_replace(regexp_replace(regexp_replace(regexp_replace(
            substr(said.line, 1 + char_length(coalesce(said.type, ''))),
        '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'),
        '(?<![[:alnum:]])''[^'']*''(?![[:alnum:]])|"[^"]*"|`[^`]*`', '<text>', 'g'),
        '0x[0-9a-fA-F]+|\m(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\M', '<hex>', 'g'),
        '[0-9]+([.,:_-][0-9]+)*', '<n>', 'g'), 200)
    from (
        select first.line, substring(first.line from '^[[:alpha:]_][[:alnum:]_.]*(?=: )') as type
        from (select left(split_part(p_error, E'\n', 1), 500) as line) first) said
$$;

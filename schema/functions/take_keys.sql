-- Takes a key for each job id (null = none wanted), to be held until p_untils and while its job is unfinished, or finds who
-- holds it: returns, in the given order, the id itself or the id of the job that has the key. Waits for a rival that has not
-- committed yet. Locks: keys in sorted order; not those that others hold on.
create or replace function dtsched.take_keys(p_keys text[], p_ids bigint[], p_untils timestamptz[] default null)
returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_holders bigint[];
    v_over text[] := '{}';
    v_now_over text[];
begin
    if array_remove(p_keys, null) = '{}' then
        return p_ids;
    end if;
    loop
        begin
            select tried.holders, tried.over
            into v_holders, v_now_over
            from dtsched.try_keys(p_keys, p_ids, p_untils, v_over) tried;
            if array_position(v_holders, null) is null and v_now_over is null then
                return v_holders;
            end if;
            raise exception 'a holder ended in between, or has ended long ago' using errcode = 'JQ009';
        exception
            when sqlstate 'JQ009' then  -- JQ000 would be all of class JQ
                v_over := v_over || coalesce(v_now_over, '{}');
        end;
    end loop;
end $$;

-- Makes a workflow without jobs and returns its id, which jobs are submitted with. Raises JQ001 for a name that is none.
create or replace function dtsched.create_workflow(p_name text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_id bigint;
begin
    if p_name is null or char_length(p_name) not between 1 and 128 or p_name ~ '[\u0001-\u001f\u007f]' then
        raise exception 'name must be 1 to 128 characters without control characters, not %',
            coalesce(dtsched.shown(to_jsonb(p_name)), 'null')
            using errcode = 'JQ001', column = 'name';
    end if;
    insert into dtsched.workflows (name) values (p_name) returning id into v_id;
    return v_id;
end $$;

-- What a step of a job returned when it was run; no row when it was not. Raises JQ001 for a name that was a sleep's or a
-- wait's: the handler has changed since. Reads steps_pkey.
create or replace function dtsched.recall_step(p_job bigint, p_name text) returns setof jsonb
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_step record;
begin
    select step.kind, step.result
    into v_step
    from dtsched.steps step
    where step.job_id = p_job and step.name = p_name;
    if found then
        perform dtsched.same_kind(p_job, p_name, v_step.kind, 'step');
        return next v_step.result;
    end if;
end $$;

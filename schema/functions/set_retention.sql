-- Sets how long ended jobs are kept: of one queue, or of all that say nothing of their own. p_retention is an object of
-- completed, failed, cancelled and results, each in seconds, "forever", or null for the default again; members that it does
-- not have stay as they are. Returns what is set now. Raises JQ001 for what is no retention. Locks: the row it changes.
create or replace function dtsched.set_retention(p_retention jsonb, p_queue text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_problem text := case when p_retention is null then 'retention must be an object, not null'
                          else dtsched.settings_problem(jsonb_build_object('retention', p_retention)) end;
    v_set jsonb;
begin
    if p_queue is not null then
        return coalesce(dtsched.set_queue(p_queue, jsonb_build_object('retention', p_retention)) -> 'retention', '{}');
    end if;
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    update dtsched.pruning
    set retention = jsonb_strip_nulls(pruning.retention || p_retention)
    returning retention
    into v_set;
    return v_set;
end $$;

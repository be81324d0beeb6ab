-- Sets how long ended jobs are kept: of one queue, or of all that say nothing of their own. p_retention is an object of
-- completed, failed, cancelled and results, each in seconds, "forever", or null for the default again; members that it does
-- not have stay as they are. Returns what is set now. Raises JQ001 for what is no retention. Locks: the row it changes.
create or replace function dtsched.set_retention(p_retention jsonb, p_queue text default null) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_problem text := dtsched.retention_problem(p_retention);
    v_set jsonb;
begin
    if v_problem is null and (p_queue !~ '^[A-Za-z0-9._:-]+$' or octet_length(p_queue) > 128) then
        v_problem := format('queue must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %s',
                            dtsched.shown(to_jsonb(p_queue)));
    end if;
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    if p_queue is null then
        update dtsched.pruning
        set retention = jsonb_strip_nulls(pruning.retention || p_retention)
        returning retention into v_set;
        return v_set;
    end if;
    insert into dtsched.queues (name, settings)
    values (p_queue, jsonb_build_object('retention', jsonb_strip_nulls(p_retention)))
    on conflict (name) do update
    set settings = queues.settings || jsonb_build_object('retention', jsonb_strip_nulls(
            case jsonb_typeof(queues.settings -> 'retention') when 'object' then queues.settings -> 'retention' else '{}' end
            || p_retention))
    returning settings -> 'retention' into v_set;
    return v_set;
end $$;

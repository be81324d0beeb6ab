-- By when the result of a job has expired, whether it has been dropped (p_dropped_for) or is still there; null while it may be
-- read, and where there never was one.
create or replace function dtsched.result_expired(
    p_state text, p_task text, p_queue text, p_finished_at timestamptz, p_dropped_for timestamptz, p_is_there boolean)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_expiry timestamptz;
begin
    if p_state <> 'completed' or p_dropped_for is not null or not p_is_there then
        return p_dropped_for;
    end if;
    v_expiry := dtsched.result_expiry(p_task, p_queue, p_finished_at);
    return case when v_expiry <= dtsched.now() then v_expiry end;
end $$;

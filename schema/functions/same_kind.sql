-- Raises JQ001 when what is remembered under this name is not what is asked for now: one of step, sleep, event, other event.
create or replace function dtsched.same_kind(p_job bigint, p_name text, p_was text, p_is text) returns void
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_words constant jsonb := '{"step": "a step", "sleep": "a sleep", "event": "a wait for an event",
                                "other event": "a wait for another event"}';
begin
    if p_was <> p_is then
        raise exception 'job % remembers % as %, and its handler now has it as %: give the new one another name', p_job,
            dtsched.shown(to_jsonb(p_name)), v_words ->> p_was, v_words ->> p_is
            using errcode = 'JQ001', column = 'name';
    end if;
end $$;

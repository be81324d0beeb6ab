-- What the code of a worker declares, an array of objects as save_schedule() takes them, each with its name; workers call this
-- when they start and each minute. Returns what came of each: created, changed (the code's declaration is another one than
-- before, and is in force now), kept (nothing new: what was changed at run time stays), or overruled.
--
-- Of two declarations of one name the one that came up last is in force: the code of a deployment under way. The older one,
-- seen before, is overruled for as long as some worker declares the newer one, however often its workers start; when the newer
-- one has not been heard for declaration_lasts(), as after a roll-back, the older one comes into force again.
-- Raises JQ001 as save_schedule() does. Locks: the schedules' rows, by name.
create or replace function dtsched.declare_schedules(p_schedules jsonb)
returns table (name text, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    v_name text;
    v_fields jsonb;
    v_digest text;
    v_now timestamptz := dtsched.now();
    v_old dtsched.schedules;
begin
    for v_name, v_fields in
        select given.schedule ->> 'name', given.schedule - 'name'
        from jsonb_array_elements(p_schedules) given (schedule)
        order by given.schedule ->> 'name' collate "C"
    loop
        name := v_name;
        select schedule.* into v_old from dtsched.schedules schedule where schedule.name = v_name;
        if found and v_old.declared = v_fields then
            update dtsched.schedules schedule
            set declared_at = v_now
            where schedule.name = v_name and schedule.declared = v_fields and schedule.declared_at < v_now - interval '30 s';
            outcome := 'kept';
            return next;
            continue;
        end if;
        v_digest := md5(v_fields::text);
        select schedule.* into v_old from dtsched.schedules schedule where schedule.name = v_name for no key update;
        if found and v_old.declared is distinct from v_fields and v_digest = any (v_old.declared_before)
            and v_old.declared_at > v_now - dtsched.declaration_lasts() then
            outcome := 'overruled';
            return next;
            continue;
        end if;
        outcome := case when dtsched.save_schedule(v_name, v_fields, false, false) then 'created' else 'changed' end;
        update dtsched.schedules schedule
        set declared = v_fields,
            declared_at = v_now,
            declared_before = array_remove(array_remove(schedule.declared_before, v_digest)
                                           || md5(nullif(schedule.declared, v_fields)::text), null)
        where schedule.name = v_name;
        return next;
    end loop;
end $$;

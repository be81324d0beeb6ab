-- Gives the limit keys and queues that lacked nothing but time (see wake_later) a turn, or wakes the workers that serve them.
-- Locks: wakes SKIP LOCKED.
create or replace function dtsched.wake_due(p_now timestamptz) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_queue text;
    v_keys text[];
begin
    for v_queue, v_keys in
        with due as (
            delete from dtsched.wakes wake
            where wake.id = any (array(
                select due.id from dtsched.wakes due
                where due.at <= p_now
                order by due.at
                limit 1000
                for update skip locked))
            returning wake.queue, wake.limit_key
        )
        select due.queue, array_agg(due.limit_key) from due group by due.queue
    loop
        perform dtsched.add_turns(v_queue, v_keys);
        if array_position(v_keys, null) is not null and dtsched.may_notify() then
            perform pg_notify('dtsched_wake', v_queue);
        end if;
    end loop;
end $$;

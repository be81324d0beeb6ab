-- Stops a session with a number, isolation.player, before and after each write: it says so in a notice, and waits for an
-- advisory lock of the number of the stop. A sequence counts them, because a transaction that is rolled back counts too.
-- 7700000 is GATE in engine.py.

create function public.stop() returns trigger language plpgsql set lock_timeout = 0 as $$
declare
    v_player integer := nullif(current_setting('isolation.player', true), '')::integer;
    v_stop integer;
begin
    if v_player is not null then
        v_stop := nextval('public.stops_' || v_player);
        raise notice 'stop % % % %', v_stop, lower(tg_when), lower(tg_op), tg_table_name;
        perform pg_advisory_lock(7700000 + v_player, v_stop);
        perform pg_advisory_unlock(7700000 + v_player, v_stop);
    end if;
    return case when tg_level = 'ROW' then coalesce(new, old) end;
end $$;

create function public.lay_stops(p_schema text, p_players integer, p_left_out text[], p_by_row text[]) returns void language plpgsql as $$
declare
    v_table text;
    v_when text;
begin
    for v_player in 0..p_players - 1 loop
        execute format('create sequence public.stops_%s', v_player);
    end loop;
    for v_table in
        select relname from pg_class
        where relnamespace = p_schema::regnamespace and relkind in ('r', 'p') and not relispartition
            and relname <> all (p_left_out)
    loop
        foreach v_when in array array['before', 'after'] loop
            execute format('create trigger zz_stop_%1$s %1$s insert or update or delete on %2$I.%3$I for each statement '
                'execute function public.stop()', v_when, p_schema, v_table);
        end loop;
        if v_table = any (p_by_row) then
            execute format('create trigger zz_stop_at_row before insert or update or delete on %I.%I for each row '
                'execute function public.stop()', p_schema, v_table);
        end if;
    end loop;
end $$;

-- Puts the turns of limit keys back that somebody else had locked, or whose jobs somebody had. Wakes nobody: a claimer woken by its own entry would turn
-- in a circle for as long as the key is locked.
create or replace function dtsched.keep_turns(p_queue text, p_keys text[]) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_notify text := coalesce(current_setting('dtsched.notify', true), '');
begin
    perform set_config('dtsched.notify', 'off', true);
    perform dtsched.add_turns(p_queue, p_keys);
    perform set_config('dtsched.notify', v_notify, true);
end $$;

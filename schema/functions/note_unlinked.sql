-- Remembers, in settings of this transaction, blocked jobs that link_parents must link at its commit. They are kept in blocks
-- of some 8 kB: one long list would be copied at every INSERT.
create or replace function dtsched.note_unlinked(p_ids text) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_block integer := coalesce(nullif(current_setting('dtsched.unlinked_blocks', true), ''), '1')::integer;
    v_noted text := current_setting('dtsched.unlinked_' || v_block, true);
begin
    if octet_length(v_noted) > 8000 then
        v_block := v_block + 1;
        v_noted := current_setting('dtsched.unlinked_' || v_block, true);
    end if;
    perform set_config('dtsched.unlinked_blocks', v_block::text, true);
    perform set_config('dtsched.unlinked_' || v_block, concat_ws(',', nullif(v_noted, ''), p_ids), true);
end $$;

-- The jobs that note_unlinked() has noted in this transaction, which are forgotten by that.
create or replace function dtsched.take_unlinked() returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_blocks integer := coalesce(nullif(current_setting('dtsched.unlinked_blocks', true), ''), '0')::integer;
    v_ids bigint[];
begin
    select coalesce(array_agg(noted.id::bigint), '{}')
    into v_ids
    from generate_series(1, v_blocks) block
    cross join string_to_table(current_setting('dtsched.unlinked_' || block, true), ',') noted (id);
    perform set_config('dtsched.unlinked_' || block, '', true) from generate_series(1, v_blocks) block;
    perform set_config('dtsched.unlinked_blocks', '', true);
    return v_ids;
end $$;

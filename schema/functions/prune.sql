-- Deletes ended jobs that are past their retention (see retention()), with all that is kept of them, and drops results that are
-- past theirs: about p_limit jobs, in a tenth of a second or so. A call that finds nothing to delete drops a partition that has
-- become empty, or nearly so. `more` says that another call may find more at once. p_all looks at all ended jobs, not only where
-- something may be due; then call it again without, for as long as there is more.
--
-- Safe to run from every worker at once; does nothing while another does it (with p_all it
-- waits for that). A job that has not ended is never touched, nor one
-- whose row somebody holds: that one is tried again a minute later. Killed in the middle, a call has done nothing.
-- Raises JQ001 for a limit below 1. Locks: an advisory lock of the transaction, jobs by id SKIP LOCKED; drop_old_partition's.
create or replace function dtsched.prune(
    p_limit integer default 1000,
    p_all boolean default false,
    out jobs bigint,
    out results bigint,
    out partitions integer,
    out more boolean
)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_chunk bigint;
    v_pruned bigint;
    v_stripped bigint;
    v_until timestamptz := clock_timestamp() + interval '100 ms';
begin
    if p_limit is null or p_limit < 1 then
        raise exception 'prune() takes a limit of 1 or more, not %', coalesce(p_limit::text, 'null') using errcode = 'JQ001';
    end if;
    jobs := 0;
    results := 0;
    partitions := 0;
    more := true;
    if p_all then
        perform pg_advisory_xact_lock(dtsched.chores_gate(), 17);
    elsif not pg_try_advisory_xact_lock(dtsched.chores_gate(), 17) then
        return;
    end if;
    perform dtsched.find_prunable(p_all);
    while jobs + results < p_limit and clock_timestamp() < v_until loop
        select due.chunk
        into v_chunk
        from dtsched.prunable due
        where due.due_at <= dtsched.now()
        order by due.due_at
        limit 1;
        if not found then
            more := jobs > 0;  -- a partition may be empty now
            exit;
        end if;
        select part.pruned, part.stripped
        into v_pruned, v_stripped
        from dtsched.prune_chunk(v_chunk, p_limit - jobs - results) part;
        jobs := jobs + v_pruned;
        results := results + v_stripped;
    end loop;
    if not more then
        partitions := dtsched.drop_old_partition();
        more := partitions > 0;
    end if;
end $$;

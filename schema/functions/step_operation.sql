-- Takes the operation that has waited longest a step further: up to p_limit jobs, or 100,000 looked at. Returns its id, its state
-- now and how many jobs it met, and in how many seconds there is more to do for anybody (null: no operation is under way). Safe to run
-- from every process at once: each operation is stepped by one at a time, and where it stands moves in the same transaction
-- as what was done, so that a call killed in the middle has done nothing.
--
-- Round 0 meets the jobs newest first, each once. Those that somebody held (busy), and of a retry those whose parent had its
-- turn yet to come (parents), are kept as leftovers; the rounds after that meet them oldest first, until there are none, or
-- a round decides on none of those that wait for a parent, or four rounds are over: then they count as what they are.
-- What no operation can get over ends it as failed. Reads operations_unfinished_idx, operation_leftovers_pkey and what find_jobs() does.
-- Locks: the operation's row SKIP LOCKED, before everything else; then act_on's.
create or replace function dtsched.step_operation(p_limit integer default 500)
returns table (operation_id bigint, state text, met integer, next_seconds double precision)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    c_rounds constant integer := 4;
    v_now timestamptz := dtsched.now();
    v_operation dtsched.operations;
    v_ids bigint[] := '{}';
    v_scanned_to bigint;
    v_jobs bigint[] := '{}';
    v_outcomes text[] := '{}';
    v_is_over boolean := false;
begin
    select operation.*
    into v_operation
    from dtsched.operations operation
    where operation.state in ('pending', 'running') and operation.next_at <= dtsched.now()
    order by operation.stepped_at, operation.id
    limit 1
    for update skip locked;
    if not found then
        return query
        select null::bigint, null::text, 0,
            (select greatest(0.25, extract(epoch from greatest(waiting.next_at, v_now) - v_now)::double precision)  -- or somebody is at it
             from dtsched.operations waiting
             where waiting.state in ('pending', 'running') and waiting.next_at < 'infinity'
             order by waiting.next_at
             limit 1);
        return;
    end if;
    v_operation.started_at := coalesce(v_operation.started_at, dtsched.now());
    v_operation.state := 'running';
    begin
        if v_operation.round = 0 then
            select found.ids, found.scanned_to
            into v_ids, v_scanned_to
            from dtsched.find_jobs(v_operation.wanted, v_operation.next_id,
                                   case when v_operation.dry_run then 10000 else p_limit end) found;
            v_operation.sample := dtsched.longer_sample(v_operation.sample, v_ids);
        else
            v_ids := array(
                select left_over.job_id
                from dtsched.operation_leftovers left_over
                where left_over.operation_id = v_operation.id and left_over.round = v_operation.round
                order by left_over.job_id
                limit p_limit / 5 + 1);  -- one that is waited for makes all of its chunk busy
        end if;
        if not v_operation.dry_run and v_ids <> '{}' then
            select array_agg(done.job_id), array_agg(done.outcome)
            into v_jobs, v_outcomes
            from dtsched.act_on(v_operation.action, v_operation.wanted, v_operation.changes, v_operation.run_at, v_ids) done;
        end if;
    exception
        when lock_not_available or deadlock_detected then
            v_jobs := v_ids;
            v_outcomes := array_fill('busy'::text, array[cardinality(v_ids)]);
        when others then
            if left(sqlstate, 2) in ('08', '40', '53', '57', '58', 'XX') then
                raise;  -- nothing that the operation can do about
            end if;
            v_operation.state := 'failed';
            v_operation.error := left(sqlerrm, 500);
    end;

    if v_operation.state = 'running' then
        v_operation := dtsched.note_outcomes(v_operation, v_jobs, v_outcomes);
        if v_operation.round = 0 then
            v_operation.matched := v_operation.matched + cardinality(v_ids);
            v_operation.next_id := case
                when cardinality(v_ids) = case when v_operation.dry_run then 10000 else p_limit end
                    then v_ids[cardinality(v_ids)]
                else coalesce(v_scanned_to, v_operation.bottom_id) end;
            v_is_over := v_operation.next_id <= v_operation.bottom_id;
        else
            v_is_over := not exists (
                select from dtsched.operation_leftovers left_over
                where left_over.operation_id = v_operation.id and left_over.round = v_operation.round);
        end if;
        if v_is_over then
            v_operation := dtsched.next_round(v_operation, c_rounds);
        end if;
    end if;
    if v_operation.state <> 'running' then
        v_operation.finished_at := dtsched.now();
        delete from dtsched.operation_leftovers left_over where left_over.operation_id = v_operation.id;
    end if;
    update dtsched.operations operation
    set state = v_operation.state,
        next_id = v_operation.next_id,
        round = v_operation.round,
        settled = v_operation.settled,
        next_at = v_operation.next_at,
        stepped_at = dtsched.now(),
        matched = v_operation.matched,
        outcomes = v_operation.outcomes,
        sample = v_operation.sample,
        error = v_operation.error,
        started_at = v_operation.started_at,
        finished_at = v_operation.finished_at
    where operation.id = v_operation.id;
    return query
    select v_operation.id, v_operation.state, cardinality(v_ids), (
        select extract(epoch from greatest(waiting.next_at, v_now) - v_now)::double precision
        from dtsched.operations waiting
        where waiting.state in ('pending', 'running') and waiting.next_at < 'infinity'
        order by waiting.next_at
        limit 1);
end $$;

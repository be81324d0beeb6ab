-- The second half of take_keys_by_mode(): p_holders are who holds the keys, some of them jobs that are to be replaced or
-- superseded. Decides in the order of the batch, and then acts. With the row of a holder in hand nobody can claim, end or
-- cancel it, and nobody else can take its key. Raises JQ009 when a holder has changed before its row was locked.
--
-- A job that runs when its key is taken goes on: its lease says that it has given its key up, and so it ends with this
-- attempt. Superseded it is told to stop, too.
-- Locks: lock_holders's, keys of jobs that are locked, then end_unsuccessful's; waits for none of them over 0.3 s: less than it
-- takes to look for a deadlock.
create or replace function dtsched.settle_keys(
    p_jobs jsonb,
    p_keys text[],
    p_ids bigint[],
    p_untils timestamptz[],
    p_holders bigint[],
    out holders bigint[],
    out outcomes text[],
    out jobs jsonb,
    out untils timestamptz[]
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '300ms'
as $$
declare
    v_count constant integer := cardinality(p_ids);
    v_modes text[];
    v_first integer[];  -- of each job, the first one of the batch that has its key
    v_states text[];  -- of the holders
    v_makers integer[] := array_fill(null::integer, array[v_count]);  -- by the first: which one makes the job
    v_sources integer[];  -- of each job to make, whose values it gets
    v_replacing integer[] := array_fill(null::integer, array[v_count]);  -- by the first: whose values the holder gets
    v_taken_from bigint[] := '{}';
    v_taken_by integer[] := '{}';
    v_told boolean[] := '{}';
    v_refused integer[] := '{}';
    v_problems text[] := '{}';
    v_first_one integer;
begin
    select array_agg(coalesce(given.job ->> 'on_conflict', 'keep') order by given.n), array_agg(given.first order by given.n)
    into v_modes, v_first
    from (select given.job, given.n,
              case when p_keys[given.n] is null then given.n else min(given.n) over (partition by p_keys[given.n]) end as first
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)) given;
    v_states := dtsched.lock_holders(p_jobs, p_keys, p_holders, array(
        select p_holders[n]
        from generate_series(1, v_count) n
        where p_holders[n] <> p_ids[v_first[n]] and v_modes[n] in ('replace', 'supersede')));

    holders := p_holders;
    outcomes := array_fill('created'::text, array[v_count]);
    jobs := p_jobs;
    v_sources := array(select n from generate_series(1, v_count) n);
    for v_n in 1 .. v_count loop
        continue when p_keys[v_n] is null;
        v_first_one := v_first[v_n];
        if v_makers[v_first_one] is null and p_holders[v_n] = p_ids[v_first_one] then
            v_makers[v_first_one] := v_n;
        elsif v_modes[v_n] = 'reject' then
            v_refused := v_refused || v_n;
            v_problems := v_problems || dtsched.key_problem(p_keys[v_n], p_holders[v_n], v_makers[v_first_one]);
        elsif v_modes[v_n] = 'keep' then
            outcomes[v_n] := 'kept';
            holders[v_n] := coalesce(p_ids[v_makers[v_first_one]], p_holders[v_n]);
        elsif v_makers[v_first_one] is not null then
            outcomes[v_n] := 'replaced';
            holders[v_n] := p_ids[v_makers[v_first_one]];
            v_sources[v_makers[v_first_one]] := v_n;
        elsif v_modes[v_n] = 'replace' and v_states[v_n] in ('blocked', 'scheduled', 'ready') then
            outcomes[v_n] := 'replaced';
            v_replacing[v_first_one] := v_n;
        elsif v_modes[v_n] = 'replace' and v_states[v_n] <> 'running' then
            outcomes[v_n] := 'kept';  -- it has ended, and keeps its key
        else
            outcomes[v_n] := 'superseded';
            holders[v_n] := p_ids[v_n];
            v_makers[v_first_one] := v_n;
            v_replacing[v_first_one] := null;
            v_taken_from := v_taken_from || p_holders[v_n];
            v_taken_by := v_taken_by || v_n;
            v_told := v_told || (v_modes[v_n] = 'supersede');
        end if;
    end loop;
    if v_refused <> '{}' then
        perform dtsched.refuse(v_refused, v_problems, v_count, 'JQ003', 'key');
    end if;

    untils := array(select p_untils[source] from unnest(v_sources) with ordinality as made (source, n) order by n);
    if exists (select from unnest(v_sources) with ordinality as made (source, n) where source <> n) then
        jobs := (select jsonb_agg(p_jobs -> (source - 1) order by n) from unnest(v_sources) with ordinality as made (source, n));
        update dtsched.keys taken
        set until = made.until
        from unnest(p_keys, p_ids, untils) as made (key, job_id, until)
        where taken.key = made.key and taken.job_id = made.job_id and taken.until is distinct from made.until;
    end if;
    if v_taken_from <> '{}' then
        perform dtsched.supersede(v_taken_from, array(select p_ids[n] from unnest(v_taken_by) n),
            array(select p_keys[n] from unnest(v_taken_by) n),
            array(select untils[n] from unnest(v_taken_by) n), v_told);
    end if;
    if array_remove(v_replacing, null) <> '{}' then
        perform dtsched.replace_waiting(array(select p_holders[n] from unnest(v_replacing) n where n is not null),
            array(select p_jobs -> (n - 1) from unnest(v_replacing) n where n is not null),
            array(select p_untils[n] from unnest(v_replacing) n where n is not null));
    end if;
end $$;

-- The job that each key in some depends_on of a batch stands for, as an object of ids by key: the one of the batch, else the
-- job that holds it; null when no key and no entry is named. submit_many() has taken the batch's own keys before: p_holders
-- is what came of that, p_ids the jobs that it would make. Raises JQ001 for a key that nobody holds, for an entry that the
-- batch does not have, and for jobs that would wait for each other for ever. Reads keys_pkey.
create or replace function dtsched.keyed_parents(p_jobs jsonb, p_ids bigint[], p_holders bigint[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_count constant integer := jsonb_array_length(p_jobs);
    v_children integer[];  -- numbers in the batch, with the key or the entry that each names
    v_keys text[];
    v_entries integer[];
    v_numbers jsonb;  -- of the batch's jobs, by their keys
    v_parents jsonb;
    v_wrong integer[];
    v_problems text[];
    v_circle integer[];
begin
    if not jsonb_path_exists(p_jobs, '$[*].depends_on[*] ? (@.type() != "number")') then
        return null;
    end if;
    select array_agg(named.child), array_agg(named.key), array_agg(named.entry)
    into v_children, v_keys, v_entries
    from (select given.n::integer as child,
              case when jsonb_typeof(parent.it) = 'string' then parent.it #>> '{}'
                   when jsonb_typeof(parent.it -> 'job') = 'string' then parent.it ->> 'job' end as key,
              (parent.it ->> 'entry')::integer as entry
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
          cross join lateral jsonb_array_elements(
              case when jsonb_typeof(given.job -> 'depends_on') = 'array' then given.job -> 'depends_on' end) parent (it)) named
    where named.key is not null or named.entry is not null;
    if v_children is null then
        return null;
    end if;
    select coalesce(jsonb_object_agg(keyed.key, keyed.n), '{}')
    into v_numbers
    from (select given.job ->> 'key' as key, min(given.n) as n
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
          where given.job ->> 'key' is not null
          group by given.job ->> 'key') keyed;
    select coalesce(jsonb_object_agg(named.key, coalesce(p_holders[(v_numbers ->> named.key)::integer], taken.job_id)), '{}')
    into v_parents
    from (select distinct key from unnest(v_keys) key where key is not null) named
    left join lateral (
        select entry.job_id
        from dtsched.keys entry
        where entry.key = named.key
            and (entry.until is null or entry.until > dtsched.now()
                 or exists (
                     select from dtsched.jobs job
                     where job.id = entry.job_id and job.state in ('blocked', 'scheduled', 'ready', 'running')))
        order by (entry.job_id = any (p_ids)) desc
        limit 1) taken on true;

    select array_agg(wrong.child order by wrong.child), array_agg(wrong.problem order by wrong.child)
    into v_wrong, v_problems
    from (select distinct on (edge.child) edge.child, case
              when edge.entry is not null then format('depends_on names entry %s, and there %s: entries count from 1', edge.entry,
                  case when v_count = 1 then 'is 1 job' else format('are %s jobs', v_count) end)
              else format('depends_on names the key %s, which no unfinished job has: give the id of the job',
                          dtsched.shown(to_jsonb(edge.key))) end as problem
          from unnest(v_children, v_keys, v_entries) with ordinality as edge (child, key, entry, place)
          where edge.entry > v_count or edge.key is not null and v_parents ->> edge.key is null
          order by edge.child, edge.place) wrong;
    if v_wrong is not null then
        perform dtsched.refuse(v_wrong, v_problems, v_count, 'JQ001', 'depends_on');
    end if;

    -- what is not made, because its key is held, waits for nobody; a circle has a job that waits for itself or a later one
    select dtsched.circle(array_agg(edge.child), array_agg(edge.parent), v_count)
    into v_circle
    from (select distinct named.child, named.parent
          from (select edge.child, coalesce(edge.entry, (v_numbers ->> edge.key)::integer) as parent
                from unnest(v_children, v_keys, v_entries) as edge (child, key, entry)) named
          where p_holders[named.child] = p_ids[named.child] and p_holders[named.parent] = p_ids[named.parent]) edge
    having bool_or(edge.parent >= edge.child);
    if v_circle is not null then
        raise exception '%', case when v_count > 1 then format('job %s: ', (select min(n) from unnest(v_circle) n)) else '' end
                || dtsched.circle_problem(p_jobs, v_circle[:3], cardinality(v_circle))
            using errcode = 'JQ001', column = 'depends_on',
                detail = format('circle: jobs %s; %s in all', array_to_string(v_circle[:3], ', '), cardinality(v_circle));
    end if;
    return v_parents;
end $$;

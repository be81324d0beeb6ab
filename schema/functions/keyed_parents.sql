-- The job that each key in some depends_on of a batch stands for, as an object of ids by key: the one of the batch, else the
-- job that holds it; null when no key is named. submit_many() has taken the batch's own keys before: p_holders is
-- what came of that, p_ids the jobs that it would make. Raises JQ001 for a key that nobody holds, and for jobs that would
-- wait for each other for ever. Reads keys_pkey.
create or replace function dtsched.keyed_parents(p_jobs jsonb, p_ids bigint[], p_holders bigint[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_several constant text := case when jsonb_array_length(p_jobs) > 1 then 'job %s: ' else '' end;
    v_numbers jsonb;  -- of the batch's jobs, by their keys
    v_parents jsonb;
    v_wrong integer;
    v_key text;
    v_circle integer[];
begin
    if not jsonb_path_exists(p_jobs, '$[*].depends_on[*] ? (@.type() == "string")') then
        return null;
    end if;
    select coalesce(jsonb_object_agg(keyed.key, keyed.n), '{}')
    into v_numbers
    from (select given.job ->> 'key' as key, min(given.n) as n
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
          where given.job ->> 'key' is not null
          group by given.job ->> 'key') keyed;
    select jsonb_object_agg(named.key, coalesce(p_holders[(v_numbers ->> named.key)::integer], taken.job_id))
    into v_parents
    from (select distinct parent #>> '{}' as key
          from jsonb_path_query(p_jobs, '$[*].depends_on[*] ? (@.type() == "string")') parent) named
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

    select given.n, parent #>> '{}'
    into v_wrong, v_key
    from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
    cross join lateral jsonb_path_query(given.job, '$.depends_on[*] ? (@.type() == "string")') parent
    where v_parents ->> (parent #>> '{}') is null
    order by given.n
    limit 1;
    if found then
        raise exception '%depends_on names the key %, which no unfinished job has: give the id of the job',
            format(v_several, v_wrong), dtsched.shown(to_jsonb(v_key))
            using errcode = 'JQ001', column = 'depends_on';
    end if;

    -- what is not made, because its key is held, waits for nobody; a circle has a job that waits for itself or a later one
    select dtsched.circle(array_agg(edge.child), array_agg(edge.parent), cardinality(p_ids))
    into v_circle
    from (select distinct given.n::integer as child, (v_numbers ->> (parent #>> '{}'))::integer as parent
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
          cross join lateral jsonb_path_query(given.job, '$.depends_on[*] ? (@.type() == "string")') parent
          where p_holders[given.n] = p_ids[given.n]) edge
    where p_holders[edge.parent] = p_ids[edge.parent]
    having bool_or(edge.parent >= edge.child);
    if v_circle is not null then
        raise exception '%depends_on goes in a circle, in which jobs wait for each other for ever: %',
            format(v_several, (select min(n) from unnest(v_circle) n)),
            (select string_agg(dtsched.shown(p_jobs -> (member.n - 1) -> 'key'), ', ' order by member.place)
             from unnest(v_circle[:3]) with ordinality as member (n, place))
            || case when cardinality(v_circle) > 3 then format(' and %s more', cardinality(v_circle) - 3) else '' end
            using errcode = 'JQ001', column = 'depends_on';
    end if;
    return v_parents;
end $$;

-- Submits jobs of several submitters in one transaction, each as if alone: a row for each in its order, as submit_partly() has
-- it, and the whole job as JSON where it was made. p_queues has for each, in the same order, the queues that its submitter may
-- submit to, as an array of names, or null: all of them; it is null itself where that is so of all.
--
-- None of the jobs has a key, depends on others or belongs to a workflow: they are not to find each other, nor is one to wait for
-- what another one needs. Raises JQ001 for one that has. Locks: submit_partly's.
create or replace function dtsched.submit_gathered(p_jobs jsonb, p_queues jsonb default null)
returns table (id bigint, created boolean, error text, outcome text, code text, field text, job json)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_problems jsonb := '{}';
    v_ids bigint[];
    v_refused jsonb;
begin
    if jsonb_path_exists(p_jobs, '$[*] ? (@.key != null || @.depends_on != null || @.workflow != null)') then
        raise exception 'a job with a key, depends_on or a workflow is not gathered with others: submit it alone'
            using errcode = 'JQ001';
    end if;
    if p_queues is not null then
        select coalesce(jsonb_object_agg(found.n, dtsched.problem('queue-forbidden', 'queue', found.problem)), '{}')
        into v_problems
        from (select given.n, dtsched.queue_problem(given.job, array(select jsonb_array_elements_text(allowed.queues))) as problem
              from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
              join jsonb_array_elements(p_queues) with ordinality as allowed (queues, n) on allowed.n = given.n
              where jsonb_typeof(allowed.queues) = 'array') found
        where found.problem is not null;
    end if;
    select array_agg(made.id order by made.n),
        jsonb_object_agg(made.n, jsonb_build_object('error', made.error, 'code', made.code, 'field', made.field))
            filter (where made.id is null)
    into v_ids, v_refused
    from dtsched.submit_partly(p_jobs, true, v_problems)
        with ordinality made (id, created, error, outcome, code, field, n);
    return query
    select made.id, made.id is not null, refused.it ->> 'error', case when made.id is null then 'refused' else 'created' end,
        refused.it ->> 'code', refused.it ->> 'field', shown.job
    from unnest(v_ids) with ordinality as made (id, n)
    left join dtsched.jobs_just_submitted(v_ids) shown on shown.id = made.id
    cross join lateral (select v_refused -> made.n::text) refused (it)
    order by made.n;
end $$;

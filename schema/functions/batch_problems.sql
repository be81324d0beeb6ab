-- What is wrong with the jobs of a batch, as far as can be seen before one tries: a row for each wrong job by its number, from
-- 1, with the problem's name (invalid-input, unknown-task, key-held, queue-forbidden, parent-refused), the field and a sentence. p_known are
-- problems that are known already, by number, as objects of code, field and problem; p_queues is submit_many's. Of what it does not find (circles, keys
-- that rivals take just now) the submission itself tells.
--
-- Who depends on a job of the batch that is wrong is wrong too; a key means the first job of the batch that has it. With
-- on_conflict reject, a key that an earlier job of the batch wants is held, unless that one is wrong in itself or for the
-- sake of its parents, or its key is held by a job that is there already.
-- Reads keys_pkey, jobs_pkey, workflows_pkey. Locks: none.
create or replace function dtsched.batch_problems(p_jobs jsonb, p_check_tasks boolean, p_known jsonb default '{}', p_queues text[] default null)
returns table (n integer, code text, field text, problem text)
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_count constant integer := jsonb_array_length(p_jobs);
    v_wrong jsonb[];
    v_numbers jsonb;  -- of the first job of the batch that has each key
    v_children integer[] := '{}';  -- edges within the batch
    v_parents integer[] := '{}';
    v_found jsonb;
begin
    with given as materialized (
        select given.n, given.job, coalesce(p_known -> given.n::text, (
            select dtsched.problem('invalid-input', case when said.field = 'task' or given.job ? said.field then said.field end,
                                   said.problem)
            from (select said.problem, substring(said.problem from '^[a-z_]+') as field
                  from dtsched.job_problem(given.job) said (problem)) said)) as known
        from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
    )
    select array_agg(case
        when given.known is not null then given.known
        when p_check_tasks and not exists (select from dtsched.tasks task where task.name = given.job ->> 'task')
            and exists (select from dtsched.tasks)
            then dtsched.problem('unknown-task', 'task', dtsched.unknown_task(given.job ->> 'task'))
        when p_queues is not null and dtsched.queue_problem(given.job, p_queues) is not null
            then dtsched.problem('queue-forbidden', 'queue', dtsched.queue_problem(given.job, p_queues))
        when given.job ->> 'workflow' is not null
            and (not exists (select from dtsched.workflows workflow where workflow.id = (given.job ->> 'workflow')::bigint)
                 or p_queues is not null and exists (  -- it would change what becomes of others' jobs, and learn of them
                     select from dtsched.jobs job
                     where job.workflow_id = (given.job ->> 'workflow')::bigint and job.queue <> all (p_queues)))
            then dtsched.problem('invalid-input', 'workflow',
                                 format('there is no workflow %s: create_workflow() makes one', given.job ->> 'workflow'))
        end order by given.n)
    into v_wrong
    from given;

    select coalesce(jsonb_object_agg(keyed.key, keyed.n), '{}')
    into v_numbers
    from (select given.job ->> 'key' as key, min(given.n) as n
          from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
          where jsonb_typeof(given.job -> 'key') = 'string'
          group by 1) keyed;

    if jsonb_path_exists(p_jobs, '$[*].depends_on[*]') then
        with edge as materialized (
            select given.n::integer as child, parent.place,
                (parent.it ->> 'entry')::integer as entry,
                case when jsonb_typeof(named.it) = 'string' then named.it #>> '{}' end as key,
                case when jsonb_typeof(named.it) = 'number' then (named.it #>> '{}')::bigint end as id
            from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
            cross join lateral jsonb_array_elements(case when v_wrong[given.n] is null
                    and jsonb_typeof(given.job -> 'depends_on') = 'array' then given.job -> 'depends_on' end)
                with ordinality as parent (it, place)
            cross join lateral (
                select case jsonb_typeof(parent.it) when 'object' then parent.it -> 'job' else parent.it end) named (it)
        ),
        missing as (
            select edge.child, edge.place, case
                when edge.entry > v_count then format('depends_on names entry %s, and there %s: entries count from 1',
                    edge.entry, case when v_count = 1 then 'is 1 job' else format('are %s jobs', v_count) end)
                when edge.key is not null and not v_numbers ? edge.key
                    and (dtsched.holder_of(edge.key) is null
                         or p_queues is not null
                             and dtsched.strange_holder(edge.key, dtsched.holder_of(edge.key), p_queues) is not null)
                    then format('depends_on names the key %s, which no unfinished job has: give the id of the job',
                                dtsched.shown(to_jsonb(edge.key)))
                when edge.id is not null and not exists (
                        select from dtsched.jobs job
                        where job.id = edge.id and (p_queues is null or job.queue = any (p_queues)))
                    then format('depends_on names job %s, which does not exist', edge.id) end as problem
            from edge
        )
        select (select jsonb_object_agg(first.child, dtsched.problem('invalid-input', 'depends_on', first.problem))
                from (select distinct on (missing.child) missing.child, missing.problem
                      from missing
                      where missing.problem is not null
                      order by missing.child, missing.place) first),
            coalesce(array_agg(edge.child) filter (where edge.parent is not null), '{}'),
            coalesce(array_agg(edge.parent) filter (where edge.parent is not null), '{}')
        into v_found, v_children, v_parents
        from (select distinct edge.child, coalesce(edge.entry, (v_numbers ->> edge.key)::integer) as parent from edge) edge;
        v_wrong := dtsched.with_dependents(dtsched.with_problems(v_wrong, v_found), v_children, v_parents);
    end if;

    if p_queues is not null and v_numbers <> '{}' then
        select jsonb_object_agg(held.n, dtsched.problem('key-held', 'key', held.problem))
        into v_found
        from (select given.n, dtsched.strange_holder(given.job ->> 'key', dtsched.holder_of(given.job ->> 'key'), p_queues) as problem
              from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
              where v_wrong[given.n] is null and given.job ->> 'key' is not null) held
        where held.problem is not null;
        v_wrong := dtsched.with_dependents(dtsched.with_problems(v_wrong, v_found), v_children, v_parents);
    end if;

    if jsonb_path_exists(p_jobs, '$[*] ? (@.on_conflict == "reject")') then
        select jsonb_object_agg(given.n, dtsched.problem('key-held', 'key', dtsched.key_problem(given.job ->> 'key',
                                                                                               given.holder)))
        into v_found
        from (select given.n, given.job, dtsched.holder_of(given.job ->> 'key') as holder
              from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
              where v_wrong[given.n] is null and given.job ->> 'on_conflict' = 'reject') given
        where given.holder is not null;
        v_wrong := dtsched.with_dependents(dtsched.with_problems(v_wrong, v_found), v_children, v_parents);

        select jsonb_object_agg(given.n, dtsched.problem('key-held', 'key', dtsched.key_problem(given.job ->> 'key', null,
                                                                                               given.first)))
        into v_found
        from (select given.n, given.job, min(given.n) over (partition by given.job ->> 'key')::integer as first
              from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
              where v_wrong[given.n] is null and given.job ->> 'key' is not null) given
        where given.n > given.first and given.job ->> 'on_conflict' = 'reject';
        v_wrong := dtsched.with_dependents(dtsched.with_problems(v_wrong, v_found), v_children, v_parents);
    end if;

    return query
    select wrong.n::integer, wrong.it ->> 'code', wrong.it ->> 'field', wrong.it ->> 'problem'
    from unnest(v_wrong) with ordinality as wrong (it, n)
    where wrong.it is not null
    order by wrong.n;
end $$;

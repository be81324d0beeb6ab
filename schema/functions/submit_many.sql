-- Submits an array of jobs, all or none, and returns a row for each in its order: its id, and whether it was created or is
-- the job that holds its key already; outcome says it more closely. An element is an object with the fields task, args,
-- queue, priority, run_at (ISO 8601) or delay (seconds), max_attempts, timeout (seconds), key, limit_key, depends_on (ids, and
-- strings that are keys: of the array first, then of the job that holds it; or objects: {"job": id or key} or {"entry": n}, the
-- n-th of this array from 1, with "on_failure": cancel, run or skip), on_parent_failure, workflow (id), tags, backoff,
-- deadline (ISO 8601) or expires_in (seconds), correlation_id. What is missing or null is what the task declares
-- (dtsched.tasks), else what the queue's settings say, else the default; of timeout, claim() decides that.
--
-- key_for says how long a key is held: "unfinished" (the default: while the job is unfinished), a number of seconds from the
-- submission (while it is unfinished, and at least so long) or "kept" (as long as the row of the job is kept). on_conflict
-- says what becomes of the job that holds the key:
--   keep (the default): nothing, and its id is returned (outcome kept).
--   replace: one that waits gets the values of this one, but not its depends_on, and keeps its id (replaced). One that runs
--     goes on without the key, and ends with this attempt; this one is made (superseded). One that has ended is kept.
--   reject: nothing is written, JQ003 is raised.
--   supersede: one that waits is cancelled, one that runs is told to stop; this one is made (superseded).
-- Jobs of one array come one after another, see take_keys_by_mode().
--
-- p_check_tasks refuses tasks that no worker has ever declared, as long as any has been declared. p_partial has the jobs that
-- are right submitted though others are wrong: see submit_partly(), which also says what code, field and error are then.
-- p_queues are the queues that the submitter may submit to and see (null: all): a job of another queue is refused with JQ007, one
-- that depends on a job of another queue as if that were missing, and one whose key a job of another queue holds as with reject.
--
-- Raises JQ001 for what is wrong with a job, JQ002 for an unknown task and JQ003 for a key that is held, each in one
-- sentence that begins with the number of the job, from 1, when there are several; nothing is written then. The detail has
-- a line for each job that is wrong, if there are several, the first 20. Locks: keys in sorted order, and nothing else that
-- submitters share; with replace and supersede, take_keys_by_mode's.
create or replace function dtsched.submit_many(
    p_jobs jsonb, p_check_tasks boolean default true, p_partial boolean default false, p_queues text[] default null)
returns table (id bigint, created boolean, error text, outcome text, code text, field text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_count integer;
    v_parents jsonb;
    v_ids bigint[];
    v_keys text[];
    v_untils timestamptz[];
    v_holders bigint[];
    v_outcomes text[];
    v_now timestamptz;
begin
    -- a SET clause would be undone before the commit, where it counts
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if p_jobs is null or jsonb_typeof(p_jobs) <> 'array' then
        raise exception 'submit_many() takes an array of jobs, not %', coalesce(jsonb_typeof(p_jobs), 'null')
            using errcode = 'JQ001';
    end if;
    if p_partial then
        return query
        select partly.id, partly.created, partly.error, partly.outcome, partly.code, partly.field
        from dtsched.submit_partly(p_jobs, p_check_tasks, '{}', p_queues) partly;
        return;
    end if;
    v_count := jsonb_array_length(p_jobs);
    if p_queues is not null
        or exists (select from jsonb_array_elements(p_jobs) job
                   where case when dtsched.is_plain(job) then false else dtsched.job_problem(job) is not null end)
        or p_check_tasks
            and exists (select from dtsched.tasks)
            and exists (
                select from jsonb_array_elements(p_jobs) job
                where not exists (select from dtsched.tasks task where task.name = job ->> 'task'))
    then
        perform dtsched.refuse_batch(p_jobs, p_check_tasks, p_queues);
    end if;

    if jsonb_path_exists(p_jobs, '$[*].workflow') then
        perform dtsched.require_workflows(array(select distinct (given ->> 'workflow')::bigint
                                                from jsonb_array_elements(p_jobs) given));
    end if;
    v_ids := array(select nextval('dtsched.job_id_seq') from generate_series(1, v_count));
    v_keys := array(
        select given.job ->> 'key' from jsonb_array_elements(p_jobs) with ordinality as given (job, n) order by given.n);
    if array_remove(v_keys, null) = '{}' then
        v_holders := v_ids;
    else
        v_now := dtsched.now();
        v_untils := array(
            select case jsonb_typeof(given.job -> 'key_for')
                when 'number' then v_now + make_interval(secs => (given.job ->> 'key_for')::double precision)
                when 'string' then case given.job ->> 'key_for' when 'kept' then 'infinity'::timestamptz end end
            from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
            order by given.n);
        if jsonb_path_exists(p_jobs, '$[*].on_conflict ? (@ != null && @ != "keep")') then
            select taken.holders, taken.outcomes, taken.jobs, taken.untils
            into v_holders, v_outcomes, p_jobs, v_untils
            from dtsched.take_keys_by_mode(p_jobs, v_keys, v_ids, v_untils, p_queues) taken;
        else
            v_holders := dtsched.take_keys(v_keys, v_ids, v_untils);
            perform dtsched.refuse_strange_holders(v_keys, v_ids, v_holders, p_queues);
        end if;
    end if;
    v_parents := dtsched.keyed_parents(p_jobs, v_ids, v_holders);
    insert into dtsched.jobs (id, state, task, args, queue, priority, run_at, max_attempts, timeout, key, limit_key, depends_on,
                              tags, backoff, deadline, correlation_id, key_until, on_parent_failure, parent_policies, workflow_id)
    select
        v_ids[given.n],
        -- place_new_job would say so too, row by row
        case when jsonb_typeof(given.job -> 'depends_on') = 'array' and given.job -> 'depends_on' <> '[]'
             then 'blocked' else 'ready' end,
        given.job ->> 'task',
        coalesce(nullif(given.job -> 'args', 'null'), '{}'),
        coalesce(given.job ->> 'queue', task.settings ->> 'queue', 'default'),
        coalesce(given.job ->> 'priority', task.settings ->> 'priority', '5')::smallint,
        coalesce((given.job ->> 'run_at')::timestamptz,
                 dtsched.now() + make_interval(secs => nullif((given.job ->> 'delay')::double precision, 0))),
        coalesce(given.job ->> 'max_attempts', task.settings ->> 'max_attempts', queue.settings ->> 'max_attempts', '5')::integer,
        make_interval(secs => (given.job ->> 'timeout')::double precision),
        given.job ->> 'key',
        given.job ->> 'limit_key',
        case when jsonb_typeof(given.job -> 'depends_on') = 'array'
             then array(select case jsonb_typeof(parent)
                            when 'number' then (parent #>> '{}')::bigint
                            when 'string' then (v_parents ->> (parent #>> '{}'))::bigint
                            else coalesce(v_holders[(parent ->> 'entry')::integer],
                                          (case jsonb_typeof(parent -> 'job') when 'string' then v_parents ->> (parent ->> 'job')
                                           else parent ->> 'job' end)::bigint) end
                        from jsonb_array_elements(given.job -> 'depends_on') parent) end,
        case when jsonb_typeof(given.job -> 'tags') = 'array'
             then array(select tag from jsonb_array_elements_text(given.job -> 'tags') tag) else '{}' end,
        coalesce(nullif(given.job -> 'backoff', 'null'), task.settings -> 'backoff'),
        coalesce((given.job ->> 'deadline')::timestamptz,
                 dtsched.now() + make_interval(secs => (given.job ->> 'expires_in')::double precision)),
        given.job ->> 'correlation_id',
        v_untils[given.n],
        given.job ->> 'on_parent_failure',
        case when jsonb_path_exists(given.job, '$.depends_on[*].on_failure')
             then array(select parent ->> 'on_failure' from jsonb_array_elements(given.job -> 'depends_on') parent) end,
        (given.job ->> 'workflow')::bigint
    from jsonb_array_elements(p_jobs) with ordinality as given (job, n)
    left join dtsched.tasks task on task.name = given.job ->> 'task'
    left join dtsched.queues queue on queue.name = coalesce(given.job ->> 'queue', task.settings ->> 'queue', 'default')
    where v_holders[given.n] = v_ids[given.n]
    order by given.n;
    perform dtsched.refuse_strange_parents(v_ids, p_queues);
    return query
    select holder.id, holder.id = v_ids[holder.n], null::text,
        coalesce(v_outcomes[holder.n], case when holder.id = v_ids[holder.n] then 'created' else 'kept' end), null::text, null::text
    from unnest(v_holders) with ordinality as holder (id, n)
    order by holder.n;
end $$;

-- submit_many() of the jobs that are right, though others are wrong: a row for each job in its order, as submit_many() has it.
-- Of one that was not submitted id is null, outcome is refused, code the name of the problem (invalid-input, unknown-task,
-- key-held, queue-forbidden, parent-refused), error the sentence, and field what it is about, if that is one field. A job that depends on a
-- refused one of the batch, by its number or its key, is refused, and so on. p_problems are problems that the caller has found,
-- as objects of code, field and problem by number; all that is looked at of such a job is its key. p_queues is submit_many's.
--
-- All jobs are tried at once. Only when that fails are the wrong ones looked for, all in one go, and the others tried; what only
-- a try can find (a key that a rival took just now, a circle) is found one in a try. What was tried is rolled back, with the keys
-- that it took. A fault that nobody foresaw is raised and undoes all.
-- Raises JQ001 for what is no array. Locks: submit_many's, then hold_parents's.
create or replace function dtsched.submit_partly(
    p_jobs jsonb, p_check_tasks boolean default true, p_problems jsonb default '{}', p_queues text[] default null)
returns table (id bigint, created boolean, error text, outcome text, code text, field text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_wrong jsonb := '{}';  -- problems by number
    v_found jsonb;
    v_tried integer[];
    v_part jsonb;
    v_ids bigint[];
    v_outcomes text[];
    v_orphan record;
    v_number integer;
    v_said text;
    v_detail text;
    v_field text;
    v_sqlstate text;
begin
    if p_jobs is null or jsonb_typeof(p_jobs) <> 'array' then
        perform dtsched.submit_many(p_jobs);
    end if;
    if p_problems <> '{}' then
        v_wrong := dtsched.problems_by_number(p_jobs, p_check_tasks, p_problems, p_queues);
    end if;
    loop
        v_tried := array(select n from generate_series(1, jsonb_array_length(p_jobs)) n where not v_wrong ? n::text order by n);
        v_part := case when v_wrong = '{}' then p_jobs else dtsched.part_of_batch(p_jobs, v_tried) end;
        begin
            select coalesce(array_agg(made.id order by made.n), '{}'), coalesce(array_agg(made.outcome order by made.n), '{}')
            into v_ids, v_outcomes
            from dtsched.submit_many(v_part, p_check_tasks, false, p_queues) with ordinality made (id, created, error, outcome, code, field, n);
            if jsonb_path_exists(v_part, '$[*].depends_on[*]') then
                select * into v_orphan from dtsched.hold_parents(array(
                    select made.id
                    from unnest(v_ids, v_outcomes) as made (id, outcome)
                    where made.outcome in ('created', 'superseded')));
                if v_orphan.job_id is not null then
                    perform dtsched.refuse(array[array_position(v_ids, v_orphan.job_id)],
                        array[format('depends_on names job %s, which does not exist', v_orphan.parent_id)],
                        cardinality(v_ids), 'JQ001', 'depends_on');
                end if;
            end if;
            exit;
        exception
            when sqlstate 'JQ001' or sqlstate 'JQ002' or sqlstate 'JQ003' or sqlstate 'JQ007' then
                get stacked diagnostics v_said = message_text, v_detail = pg_exception_detail, v_field = column_name,
                    v_sqlstate = returned_sqlstate;
        end;
        v_found := dtsched.problems_by_number(p_jobs, p_check_tasks, v_wrong, p_queues);
        if v_found = v_wrong then
            v_number := case when cardinality(v_tried) = 1 then 1
                             else substring(v_said from '^job ([0-9]{1,9}): ')::integer end;
            if v_number is null then
                raise exception '%', v_said using errcode = v_sqlstate;
            end if;
            v_said := case
                when v_detail like 'circle: %' then dtsched.circle_problem(p_jobs, array(
                    select v_tried[found[1]::integer] from regexp_matches(v_detail, '[0-9]+(?=[,;])', 'g') found),
                    substring(v_detail from '([0-9]+) in all')::integer)
                else regexp_replace(regexp_replace(v_said, '^job [0-9]+: ', ''), ' \(refused too: jobs? [0-9, a-z]+\)$', '') end;
            v_found := dtsched.problems_by_number(p_jobs, p_check_tasks, v_wrong || jsonb_build_object(v_tried[v_number],
                dtsched.problem(case v_sqlstate when 'JQ003' then 'key-held' when 'JQ002' then 'unknown-task'
                                else 'invalid-input' end, nullif(v_field, ''), v_said)), p_queues);
        end if;
        v_wrong := v_found;
    end loop;
    return query
    select v_ids[made.place], coalesce(v_outcomes[made.place] in ('created', 'superseded'), false), wrong.it ->> 'problem',
        coalesce(v_outcomes[made.place], 'refused'), wrong.it ->> 'code', wrong.it ->> 'field'
    from generate_series(1, jsonb_array_length(p_jobs)) entry (n)
    left join unnest(v_tried) with ordinality as made (n, place) on made.n = entry.n
    left join jsonb_each(v_wrong) wrong (n, it) on wrong.n = entry.n::text
    order by entry.n;
end $$;

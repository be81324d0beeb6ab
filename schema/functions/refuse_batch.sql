-- Raises what batch_problems() finds, for a batch that is all or nothing: JQ001, JQ002, JQ003 or JQ007 with the sentence of the first
-- wrong job, which begins with its number if the batch has several, and ends with the numbers of the others. The detail has a line for
-- each, the first 20. Who is wrong for the sake of a parent is not named.
create or replace function dtsched.refuse_batch(p_jobs jsonb, p_check_tasks boolean, p_queues text[] default null)
returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_wrong integer[];
    v_codes text[];
    v_fields text[];
    v_problems text[];
begin
    select array_agg(found.n order by found.n), array_agg(found.code order by found.n),
        array_agg(found.field order by found.n), array_agg(found.problem order by found.n)
    into v_wrong, v_codes, v_fields, v_problems
    from dtsched.batch_problems(p_jobs, p_check_tasks, '{}', p_queues) found
    where found.code <> 'parent-refused';
    if v_wrong is null then
        return;
    end if;
    perform dtsched.refuse(v_wrong, v_problems, jsonb_array_length(p_jobs),
        case v_codes[1] when 'unknown-task' then 'JQ002' when 'key-held' then 'JQ003'
            when 'queue-forbidden' then 'JQ007' else 'JQ001' end, v_fields[1]);
end $$;

-- Raises that these jobs of a batch of p_count are wrong: the sentence of the first, with its number if the batch has several,
-- and the numbers of the others; with a line for each in the detail, the first 20.
create or replace function dtsched.refuse(
    p_wrong integer[], p_problems text[], p_count integer, p_sqlstate text, p_field text default null)
returns void
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    c_named constant integer := 20;
    v_said constant text := case when p_count > 1 then format('job %s: ', p_wrong[1]) else '' end || p_problems[1];
    v_field constant text := coalesce(p_field, '');
    v_more constant integer := cardinality(p_wrong) - c_named;
begin
    if cardinality(p_wrong) > 1 then
        raise exception '% (refused too: % %)', v_said, case cardinality(p_wrong) when 2 then 'job' else 'jobs' end,
            array_to_string(p_wrong[2:c_named], ', ') || case when v_more > 0 then format(' and %s more', v_more) else '' end
            using errcode = p_sqlstate, column = v_field, detail = (
                select string_agg(format('job %s: %s', wrong.n, wrong.problem), E'\n' order by wrong.place)
                from unnest(p_wrong[:c_named], p_problems[:c_named]) with ordinality as wrong (n, problem, place))
                || case when v_more > 0 then format(E'\nand %s more', v_more) else '' end;
    elsif p_sqlstate = 'JQ002' then
        raise exception '%', v_said
            using errcode = p_sqlstate, column = v_field,
                hint = 'Start a worker that knows it, or INSERT into dtsched.jobs to have it wait.';
    end if;
    raise exception '%', v_said using errcode = p_sqlstate, column = v_field;
end $$;

-- What is wrong with what report() was given, as a sentence; null when nothing is.
create or replace function dtsched.report_problem(p_reports jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_report jsonb;
    v_line jsonb;
    v_progress jsonb;
    v_problem text;
begin
    if jsonb_typeof(p_reports) is distinct from 'array' then
        return format('reports must be an array of objects, not %s', coalesce(dtsched.shown(p_reports), 'null'));
    end if;
    for v_report in select report from jsonb_array_elements(p_reports) report loop
        if jsonb_typeof(v_report) <> 'object' then
            return format('a report must be an object like {"lease": 1, "progress": {"percent": 40}}, not %s',
                          dtsched.shown(v_report));
        elsif jsonb_typeof(v_report -> 'lease') is distinct from 'number' or v_report ->> 'lease' !~ '^[0-9]{1,18}$' then
            return format('lease must be the id of a lease, not %s', coalesce(dtsched.shown(v_report -> 'lease'), 'null'));
        elsif v_report - '{lease,progress,lines}'::text[] <> '{}' then
            return format('a report has no other members than lease, progress and lines: %s',
                          dtsched.shown(v_report - '{lease,progress,lines}'::text[]));
        end if;

        v_progress := nullif(v_report -> 'progress', 'null');
        if jsonb_typeof(v_progress) <> 'object' then
            return format('progress must be an object like {"percent": 40, "message": "40 of 100"}, not %s',
                          dtsched.shown(v_progress));
        elsif v_progress - '{percent,message}'::text[] <> '{}' then
            return format('progress has no other members than percent and message: %s',
                          dtsched.shown(v_progress - '{percent,message}'::text[]));
        elsif jsonb_typeof(v_progress -> 'message') not in ('string', 'null') then
            return format('message must be text, not %s', dtsched.shown(v_progress -> 'message'));
        elsif jsonb_typeof(v_progress -> 'percent') not in ('number', 'null') then
            return format('percent must be a number from 0 to 100, or null, not %s', dtsched.shown(v_progress -> 'percent'));
        elsif (v_progress ->> 'percent')::numeric not between 0 and 100 then
            return format('percent must be a number from 0 to 100, or null, not %s', dtsched.shown(v_progress -> 'percent'));
        end if;

        if jsonb_typeof(v_report -> 'lines') not in ('array', 'null') then
            return format('lines must be an array of objects, not %s', dtsched.shown(v_report -> 'lines'));
        end if;
        for v_line in select line from jsonb_array_elements(nullif(v_report -> 'lines', 'null')) line loop
            v_problem := dtsched.line_problem(v_line);
            if v_problem is not null then
                return v_problem;
            end if;
        end loop;
    end loop;

    select format('lease %s is named twice: send one report for each lease', report ->> 'lease')
    into v_problem
    from jsonb_array_elements(p_reports) report
    group by report ->> 'lease'
    having count(*) > 1
    limit 1;
    return v_problem;
end $$;

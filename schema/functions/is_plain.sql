-- Whether all can be seen to be right with a job at a glance, as with most: of such a job job_problem() is null. Of others it
-- has to be asked. Inlined: a fifth of what job_problem() takes, of which it was half of a batch's time.
create or replace function dtsched.is_plain(p_job jsonb) returns boolean
language sql immutable
as $$
    select coalesce(jsonb_typeof(p_job) = 'object'
        and p_job - '{task,queue,args,priority,max_attempts,correlation_id,key,limit_key,depends_on}'::text[] = '{}'
        and jsonb_typeof(p_job -> 'task') = 'string'
        and p_job ->> 'task' ~ '^[A-Za-z0-9._:-]+$' and octet_length(p_job ->> 'task') <= 128
        and (p_job ->> 'queue' is null
             or jsonb_typeof(p_job -> 'queue') = 'string'
             and p_job ->> 'queue' ~ '^[A-Za-z0-9._:-]+$' and octet_length(p_job ->> 'queue') <= 128)
        and (p_job ->> 'args' is null
             or jsonb_typeof(p_job -> 'args') = 'object' and octet_length(p_job ->> 'args') <= 1048576)
        and (p_job ->> 'priority' is null
             or jsonb_typeof(p_job -> 'priority') = 'number' and p_job ->> 'priority' ~ '^([1-9]|10)$')
        and (p_job ->> 'max_attempts' is null
             or jsonb_typeof(p_job -> 'max_attempts') = 'number' and p_job ->> 'max_attempts' ~ '^([1-9][0-9]{0,2}|1000)$')
        and (p_job ->> 'correlation_id' is null
             or jsonb_typeof(p_job -> 'correlation_id') = 'string'
             and char_length(p_job ->> 'correlation_id') between 1 and 128)
        and (p_job ->> 'key' is null
             or jsonb_typeof(p_job -> 'key') = 'string'
             and char_length(p_job ->> 'key') between 1 and 255 and p_job ->> 'key' !~ '[\u0001-\u001f\u007f]')
        and (p_job ->> 'limit_key' is null
             or jsonb_typeof(p_job -> 'limit_key') = 'string'
             and char_length(p_job ->> 'limit_key') between 1 and 255 and p_job ->> 'limit_key' !~ '[\u0001-\u001f\u007f]')
        and (p_job ->> 'depends_on' is null
             or jsonb_typeof(p_job -> 'depends_on') = 'array'
             and p_job ->> 'depends_on' ~ ('^\[(([1-9][0-9]{0,17}|\{"entry": [1-9][0-9]{0,8}\})'
                 || '(, ([1-9][0-9]{0,17}|\{"entry": [1-9][0-9]{0,8}\}))*)?\]$')
             and jsonb_array_length(p_job -> 'depends_on') <= 100000
             and not jsonb_path_exists(coalesce(p_job -> 'args', '{}'), '$.*."$parent"')), false)
$$;

-- One round of a worker: registers if that is to be done, claims a job, runs it, and says how it ended. Each statement is a
-- transaction of its own: the claim is committed, and its attempt counted, before the handler begins.
\set tasks {echo,sleep,fibonacci,prime_factorization}
\if :{?worker}
\else
    select gen_random_uuid() as worker, pg_backend_pid() as pid \gset
    select dtsched.register_worker(:'worker', :'name', string_to_array(:'queues', ','), :'tasks', 1,
                                   make_interval(secs => :'lease'), '{"language": "psql"}');
    \echo worker :worker :pid
\endif

-- what it still holds, a round before could not finish: it is handed back
select dtsched.reconcile(:'worker', '{}', 9223372036854775807);
\unset claimed
select job.lease_id as claimed, job.task, job.args, coalesce(job.timeout_seconds, 0) * 1000 as milliseconds
from (select queue from unnest(string_to_array(:'queues', ',')) queue order by random()) served
cross join lateral dtsched.claim(:'worker', served.queue, 1, :'tasks') job
limit 1 \gset
select :'SQLSTATE' = 'JQ005' as lost \gset
\if :lost
    \unset worker
\endif

\if :{?claimed}
    select set_config('statement_timeout', ceil(:milliseconds)::bigint::text, false);
    \ir handlers.sql
    \set failed :ERROR
    \set state :SQLSTATE
    \set message :LAST_ERROR_MESSAGE
    reset statement_timeout;
    \if :failed
        -- one whose cancellation was asked for ends cancelled, whatever is said here
        select dtsched.finish(:'worker', '{}', null, jsonb_build_array(jsonb_build_object(
            'lease', :claimed,
            'outcome', case when :'state' = '22023' then 'fail' else 'retry' end,
            'error', jsonb_build_object(
                'type', case when :'state' = '57014' then 'timeout' else :'state' end, 'message', :'message'))));
    \else
        select dtsched.finish(:'worker', array[:claimed::bigint], jsonb_build_array(:'result'::jsonb));
    \endif
    \echo round busy
\else
    \echo round idle
\endif

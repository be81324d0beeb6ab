-- How many jobs prune() would delete now, by queue and state. Reads all of jobs.
create or replace function dtsched.past_retention()
returns table (queue text, state text, jobs bigint)
language sql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    select job.queue::text, job.state, count(*)
    from dtsched.jobs job
    left join dtsched.retention() own on own.queue = job.queue::text
    cross join (select * from dtsched.retention() rule where rule.queue is null) fallback
    where job.state in ('completed', 'failed', 'cancelled')
        and dtsched.expiry(job.finished_at, case job.state
            when 'completed' then coalesce(own.completed, fallback.completed)
            when 'failed' then coalesce(own.failed, fallback.failed)
            else coalesce(own.cancelled, fallback.cancelled) end) <= dtsched.now()
    group by 1, 2
    order by 1, 2
$$;

-- Takes ended jobs out of the counts, because they are to run again or to be deleted. The caller holds their rows.
create or replace function dtsched.tally_revived(p_jobs bigint[]) returns void
language sql volatile
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    insert into dtsched.tallies (queue, task, event, jobs)
    select job.queue, job.task,
        case job.state when 'completed' then 'uncomplete' when 'failed' then 'unfail' else 'uncancel' end, count(*)
    from dtsched.jobs job
    where job.id = any (p_jobs) and job.state in ('completed', 'failed', 'cancelled')
    group by 1, 2, 3
$$;

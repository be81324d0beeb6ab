-- Does to jobs what an operation does, if they still fit, and says for each what came of it: an outcome of the action's own
-- function, busy, missing, or changed (it fitted when it was found, and does not any more). Rows are held before the filter
-- is asked again, so that nobody changes them between: a job that was failed is not deleted when it is ready by now. retry() looks
-- to that itself, and has to ask for keys with nothing else in hand: it is only kept from jobs that have moved to a queue that
-- was not meant. What runs is not held, or its worker could not finish it.
-- Raises 55P03 when it would have to wait for long. Locks: jobs by id SKIP LOCKED, then those of the action's own function.
create or replace function dtsched.act_on(
    p_action text, p_wanted jsonb, p_changes jsonb, p_run_at timestamptz, p_ids bigint[])
returns table (job_id bigint, outcome text)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '250ms'
as $$
#variable_conflict use_column
declare
    v_held bigint[];
    v_fitting bigint[];
    v_ids bigint[];
begin
    if p_action = 'retry' then
        v_ids := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (p_ids)
                and (p_wanted ? 'queue' and job.queue <> all (dtsched.texts(p_wanted -> 'queue'))) is not true);
        return query
        select asked.id, case when job.id is null then 'missing' else 'changed' end
        from unnest(p_ids) asked (id)
        left join dtsched.jobs job on job.id = asked.id
        where asked.id <> all (v_ids);
        return query select retried.job_id, retried.outcome from dtsched.retry(v_ids) retried;
        return;
    end if;
    v_held := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (p_ids) and job.state <> 'running'
        order by job.id
        for no key update skip locked);
    select found.ids
    into v_fitting
    from dtsched.find_jobs(p_wanted || jsonb_build_object('id', p_ids::text[]), null, cardinality(p_ids)) found;
    v_ids := array(
        select job.id
        from dtsched.jobs job
        where job.id = any (v_fitting) and (job.id = any (v_held) or job.state = 'running'));
    return query
    select asked.id, case
        when job.id is null then 'missing'
        when asked.id = any (v_fitting) then 'busy'
        else 'changed' end
    from unnest(p_ids) asked (id)
    left join dtsched.jobs job on job.id = asked.id
    where asked.id <> all (v_ids);
    case p_action
        when 'cancel' then
            return query select done.job_id, done.outcome from dtsched.cancel(v_ids) done;
        when 'delete' then
            return query select done.job_id, done.outcome from dtsched.delete(v_ids) done;
        when 'edit' then
            return query select done.job_id, done.outcome from dtsched.edit(v_ids, p_changes) done;
        when 'run-now' then
            return query select done.job_id, done.outcome from dtsched.run_now(v_ids) done;
        when 'reschedule' then
            return query select done.job_id, done.outcome from dtsched.reschedule(v_ids, p_run_at) done;
    end case;
end $$;

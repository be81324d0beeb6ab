-- Routes the rows of one INSERT or COPY to where workers look for them, by the state each row carries: a restored dump
-- routes only what asks for it. After-statement trigger on jobs and on each partition (a statement trigger fires only on
-- the table that the statement names). Blocked rows are noted in unlinked, whose trigger links them to their parents at
-- commit.
-- Locks: the keys it inserts, in key order; nothing that submitters share.
create or replace function dtsched.route_new_jobs() returns trigger
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_any_scheduled boolean;
    v_any_limited boolean;
    v_any_key boolean;
    v_any_workflow boolean;
    v_any_deadline boolean;
    v_blocked bigint[];
    v_cancelled bigint[] := '{}';
    v_keys text[];
    v_keyed bigint[];
    v_untils timestamptz[];
begin
    insert into dtsched.ready (queue, priority, job_id)
    select job.queue, job.priority, job.id
    from new_jobs job
    where job.state = 'ready' and job.limit_key is null;

    -- most are none of these, and to see that costs less than to count what they are
    if exists (
        select
        from new_jobs job
        where job.state <> 'ready' or job.limit_key is not null or job.key is not null or job.workflow_id is not null
            or job.deadline is not null)
    then
        select bool_or(job.state = 'scheduled'), bool_or(job.state = 'ready' and job.limit_key is not null),
            bool_or(job.key is not null), array_agg(job.id) filter (where job.state = 'blocked'),
            bool_or(job.workflow_id is not null), bool_or(job.deadline is not null)
        into v_any_scheduled, v_any_limited, v_any_key, v_blocked, v_any_workflow, v_any_deadline
        from new_jobs job;
    end if;

    if dtsched.feed_watched() then
        perform dtsched.write_feed(array(select job.id from new_jobs job), 'submitted', null);
    end if;
    if v_any_workflow then
        perform dtsched.require_workflows(array(select distinct job.workflow_id from new_jobs job));
    end if;
    if v_any_limited then
        insert into dtsched.parked (job_id, reason, queue, priority, task, limit_key)
        select job.id, 'limit', job.queue, job.priority, job.task, job.limit_key
        from new_jobs job
        where job.state = 'ready' and job.limit_key is not null;
        insert into dtsched.ready (queue, priority, job_id, limit_key)
        select job.queue, 10 + job.priority, min(job.id), job.limit_key
        from new_jobs job
        where job.state = 'ready' and job.limit_key is not null
        group by job.queue, job.priority, job.limit_key;
    end if;
    if v_any_scheduled then
        insert into dtsched.scheduled (run_at, job_id, queue)
        select job.run_at, job.id, job.queue
        from new_jobs job
        where job.state = 'scheduled';
    end if;
    if v_any_deadline then
        insert into dtsched.deadlines (deadline, job_id)
        select job.deadline, job.id
        from new_jobs job
        where job.deadline is not null and job.state in ('blocked', 'scheduled', 'ready', 'running');
    end if;
    if v_blocked is not null then
        insert into dtsched.unlinked (children) values (v_blocked);
    end if;
    if v_any_key then
        -- under SET CONSTRAINTS IMMEDIATE, link_parents has cancelled some by now
        if v_blocked is not null then
            v_cancelled := dtsched.cancelled(v_blocked);
        end if;
        -- submit() has taken its keys before it inserts its jobs
        select array_agg(job.key::text order by job.key::text), array_agg(job.id order by job.key::text),
            array_agg(job.key_until order by job.key::text)
        into v_keys, v_keyed, v_untils
        from new_jobs job
        where job.key is not null
            and job.state in ('blocked', 'scheduled', 'ready', 'running')
            and (job.id <> all (v_cancelled) or job.key_until > dtsched.now())
            and not exists (select from dtsched.keys taken where taken.key = job.key and taken.job_id = job.id);
        if v_keys is not null then
            perform dtsched.hold_keys(v_keys, v_keyed, v_untils);
        end if;
    end if;
    return null;
end $$;

-- Changes jobs that wait, have failed or were cancelled, and says for each what came of it: edited, running (its worker has its
-- args already), finished (it has completed), too_large (its args would be), busy (somebody holds its row: try again), missing.
-- p_changes is an object of args or merge_args (whose members go over those of args), queue, priority, max_attempts, timeout
-- (seconds), tags, limit_key and deadline; what it does not have stays as it is, and null takes timeout, limit_key or deadline
-- away. Nothing else happens: retry() has an ended job run again.
--
-- A ready job of another lane gets a new entry there. Its old one goes, which reads that lane; one that a claimer has in hand
-- comes to nothing, because a claim takes only jobs of its queue. A job keeps its place in time (created_at, run_at).
-- Raises JQ001 for changes that no job may have. Tries three times for rows that somebody holds, and waits for prune() alone.
-- Locks: jobs by id, entries of ready, scheduled, parked and blocked rows SKIP LOCKED, then rows of prunable in order.
create or replace function dtsched.edit(p_ids bigint[], p_changes jsonb)
returns table (job_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_problem text := dtsched.edit_problem(p_changes);
    v_moves boolean := coalesce(p_changes ?| array['queue', 'priority', 'limit_key', 'deadline'], false);
    v_left bigint[] := p_ids;
    v_locked bigint[];
    v_large bigint[] := '{}';
    v_edited bigint[] := '{}';
begin
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'JQ001';
    end if;
    for v_try in 1..3 loop
        v_locked := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_left) and job.state in ('blocked', 'scheduled', 'ready', 'failed', 'cancelled')
            order by job.id
            for no key update skip locked);
        if p_changes ? 'merge_args' then
            v_large := v_large || array(
                select job.id
                from dtsched.jobs job
                where job.id = any (v_locked)
                    and octet_length((job.args::jsonb || (p_changes -> 'merge_args'))::text) > 1048576);
            v_locked := array(select id from unnest(v_locked) id where id <> all (v_large));
        end if;
        if v_moves then
            perform dtsched.edit_lanes(v_locked, p_changes);
        end if;
        update dtsched.jobs job
        set args = coalesce(p_changes -> 'args', job.args::jsonb || coalesce(p_changes -> 'merge_args', '{}')),
            queue = coalesce(p_changes ->> 'queue', job.queue),
            priority = coalesce((p_changes ->> 'priority')::smallint, job.priority),
            max_attempts = coalesce((p_changes ->> 'max_attempts')::integer, job.max_attempts),
            timeout = case when p_changes ? 'timeout' then make_interval(secs => (p_changes ->> 'timeout')::double precision)
                else job.timeout end,
            tags = case when p_changes ? 'tags' then array(select jsonb_array_elements_text(p_changes -> 'tags'))
                else job.tags end,
            limit_key = case when p_changes ? 'limit_key' then p_changes ->> 'limit_key' else job.limit_key end,
            deadline = case when p_changes ? 'deadline' then (p_changes ->> 'deadline')::timestamptz else job.deadline end
        where job.id = any (v_locked);
        if p_changes ? 'deadline' then  -- the entry of the old one is dropped when its time comes
            insert into dtsched.deadlines (deadline, job_id)
            select job.deadline, job.id
            from dtsched.jobs job
            where job.id = any (v_locked) and job.deadline is not null and job.state in ('blocked', 'scheduled', 'ready')
            on conflict do nothing;
        end if;
        v_edited := v_edited || v_locked;
        v_left := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_left) and job.id <> all (v_edited) and job.id <> all (v_large)
                and job.state in ('blocked', 'scheduled', 'ready', 'failed', 'cancelled'));
        exit when v_left = '{}';
        perform pg_sleep(0.01 * v_try);
    end loop;
    if p_changes ? 'queue' then  -- another queue may have a shorter retention
        perform from dtsched.prunable looked_at
        where looked_at.chunk = any (array(select distinct id / 10000 from unnest(v_edited) id))
        order by looked_at.chunk
        for no key update;
        update dtsched.prunable looked_at
        set due_at = '-infinity'
        where looked_at.chunk = any (array(select distinct id / 10000 from unnest(v_edited) id));
    end if;
    return query
    select asked.id, case
        when asked.id = any (v_edited) then 'edited'
        when asked.id = any (v_large) then 'too_large'
        when job.id is null then 'missing'
        when job.state = 'running' then 'running'
        when job.state = 'completed' then 'finished'
        else 'busy' end
    from unnest(p_ids) asked (id)
    left join dtsched.jobs job on job.id = asked.id;
end $$;

create or replace function dtsched.edit(p_id bigint, p_changes jsonb) returns text
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$ select outcome from dtsched.edit(array[p_id], p_changes) $$;

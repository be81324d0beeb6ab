-- The ids of up to p_limit jobs that fit a filter (see list_jobs), newest first, below the id p_before. scanned_to is not null
-- when the search was given up after 100,000 jobs: it goes on below that id.
create or replace function dtsched.find_jobs(p_filter jsonb, p_before bigint default null, p_limit integer default 1000)
returns table (ids bigint[], scanned_to bigint)
language plpgsql stable security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    c_members constant text[] := array['state', 'queue', 'task', 'key', 'limit_key', 'tag', 'priority', 'worker', 'correlation_id',
        'id', 'error', 'args', 'since', 'until', 'workflow', 'fingerprint'];
    c_states constant text[] := array['blocked', 'scheduled', 'ready', 'running', 'completed', 'failed', 'cancelled', 'pending'];
    c_long constant integer := 100000;  -- longer than this, ready and scheduled are not sorted for a page
    v_unknown text;
    v_states text[] := dtsched.texts(p_filter -> 'state');
    v_queues text[] := dtsched.texts(p_filter -> 'queue');
    v_tasks text[] := dtsched.texts(p_filter -> 'task');
    v_keys text[] := dtsched.texts(p_filter -> 'key');
    v_limit_keys text[] := dtsched.texts(p_filter -> 'limit_key');
    v_tags text[] := dtsched.texts(p_filter -> 'tag');
    v_priorities text[] := dtsched.texts(p_filter -> 'priority');
    v_workers text[] := dtsched.texts(p_filter -> 'worker');
    v_correlations text[] := dtsched.texts(p_filter -> 'correlation_id');
    v_ids bigint[];
    v_workflows bigint[];
    v_errors text[] := dtsched.texts(p_filter -> 'error');
    v_fingerprints text[] := dtsched.texts(p_filter -> 'fingerprint');
    v_args jsonb := p_filter -> 'args';
    v_since timestamptz := dtsched.moment(p_filter -> 'since');
    v_until timestamptz := dtsched.moment(p_filter -> 'until');
    v_before bigint := coalesce(p_before, 9223372036854775807);
    v_source text;
    v_left integer := 100000;
    v_size integer := greatest(p_limit, 100);
    v_chunk bigint[];
    v_matches bigint[];
    v_found bigint[] := '{}';
begin
    if jsonb_typeof(p_filter) <> 'object' then
        raise exception 'a filter must be an object like {"state": ["failed"]}, not %', dtsched.shown(p_filter) using errcode = 'JQ001';
    end if;
    select member.name
    into v_unknown
    from jsonb_object_keys(p_filter) as member (name)
    where member.name <> all (c_members)
    limit 1;
    if found then
        raise exception 'a filter has no member %: known are %', dtsched.shown(to_jsonb(v_unknown)), array_to_string(c_members, ', ')
            using errcode = 'JQ001';
    end if;
    select value into v_unknown from unnest(v_states) value where value <> all (c_states) limit 1;
    if found then
        raise exception 'state must be one of %, not %', array_to_string(c_states, ', '), dtsched.shown(to_jsonb(v_unknown))
            using errcode = 'JQ001';
    end if;
    select value
    into v_unknown
    from unnest(dtsched.texts(p_filter -> 'id') || dtsched.texts(p_filter -> 'workflow')) value
    where case when value ~ '^[0-9]{1,19}$' then value::numeric > 9223372036854775807 else true end
    limit 1;
    if found then
        raise exception 'id and workflow must be ids, not %', dtsched.shown(to_jsonb(v_unknown)) using errcode = 'JQ001';
    end if;
    v_ids := dtsched.texts(p_filter -> 'id')::bigint[];
    v_workflows := dtsched.texts(p_filter -> 'workflow')::bigint[];
    if 'pending' = any (v_states) then
        v_states := array_remove(v_states, 'pending') || array['blocked', 'scheduled', 'ready'];
    end if;
    if v_workers is not null then
        v_workers := v_workers || array(
            select worker.id::text from dtsched.workers worker where worker.name = any (v_workers));
    end if;
    v_source := case
        when v_ids is not null then 'ids'
        when v_workflows is not null then 'workflows'
        when v_states <@ array['failed', 'cancelled'] then 'unsuccessful'
        when v_states <@ array['running', 'blocked', 'scheduled', 'ready']
            and not ('ready' = any (v_states) and exists (select from dtsched.ready offset c_long limit 1))
            and not ('scheduled' = any (v_states) and exists (select from dtsched.scheduled offset c_long limit 1))
            then 'waiting'
        else 'jobs' end;

    while cardinality(v_found) < p_limit loop
        if v_left <= 0 then
            return query select v_found, v_before;
            return;
        end if;
        v_size := least(v_size, v_left);
        case v_source
            when 'ids' then
                v_chunk := array(
                    select id from unnest(v_ids) id where id < v_before order by id desc limit v_size);
            when 'workflows' then
                v_chunk := array(
                    select member.id
                    from (select distinct id from unnest(v_workflows) id) wanted
                    cross join lateral (
                        select job.id
                        from dtsched.jobs job
                        where job.workflow_id = wanted.id and job.id < v_before
                        order by job.id desc
                        limit v_size) member
                    order by member.id desc
                    limit v_size);
            when 'unsuccessful' then
                v_chunk := array(
                    select ended.job_id
                    from unnest(v_states) wanted (state)
                    cross join lateral (
                        select ended.job_id
                        from dtsched.unsuccessful ended
                        where ended.state = wanted.state and ended.job_id < v_before
                        order by ended.job_id desc
                        limit v_size) ended
                    order by ended.job_id desc
                    limit v_size);
            when 'waiting' then
                v_chunk := array(
                    select entry.job_id
                    from (
                        select lease.job_id from dtsched.leases lease where 'running' = any (v_states)
                        union select waiting.job_id from dtsched.blocked waiting where 'blocked' = any (v_states)
                        union select entry.job_id from dtsched.scheduled entry where 'scheduled' = any (v_states)
                        union select entry.job_id from dtsched.ready entry where 'ready' = any (v_states)
                        union select entry.job_id from dtsched.parked entry where 'ready' = any (v_states)) entry
                    where entry.job_id < v_before
                    order by entry.job_id desc
                    limit v_size);
            else
                v_chunk := array(
                    select job.id from dtsched.jobs job where job.id < v_before order by job.id desc limit v_size);
        end case;
        exit when v_chunk = '{}';
        v_matches := array(
            select job.id
            from dtsched.jobs job
            where job.id = any (v_chunk)
                and (v_states is null or job.state = any (v_states))
                and (v_queues is null or job.queue = any (v_queues))
                and (v_tasks is null or job.task = any (v_tasks))
                and (v_priorities is null or job.priority::text = any (v_priorities))
                and (v_since is null or job.created_at >= v_since)
                and (v_until is null or job.created_at < v_until)
                and (v_keys is null or job.key = any (v_keys))
                and (v_limit_keys is null or job.limit_key = any (v_limit_keys))
                and (v_tags is null or job.tags::text[] && v_tags)
                and (v_workers is null or job.worker_id::text = any (v_workers))
                and (v_correlations is null or job.correlation_id = any (v_correlations))
                and (v_workflows is null or job.workflow_id = any (v_workflows))
                and (v_errors is null or exists (
                    select from unnest(v_errors) part where strpos(lower(job.error), lower(part)) > 0))
                and (v_fingerprints is null or dtsched.fingerprint(job.error) = any (v_fingerprints))
                and (v_args is null or not exists (
                    select
                    from jsonb_to_recordset(v_args) as wanted (path text[], value text)
                    where job.args::jsonb #>> wanted.path is distinct from wanted.value))
            order by job.id desc
            limit p_limit - cardinality(v_found));
        v_found := v_found || v_matches;
        v_before := v_chunk[cardinality(v_chunk)];
        v_left := v_left - cardinality(v_chunk);
        v_size := least(v_size * 4, 20000);
    end loop;
    return query select v_found, null::bigint;
end $$;

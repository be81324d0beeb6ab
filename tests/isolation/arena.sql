-- What every play begins and ends with, in one call each: a play takes tens of milliseconds, most of them on the way.

-- Written out table by table, so that it is planned once.
do $$
declare
    v_deletes text := (
        select string_agg(format('delete from dtsched.%I;', relname), ' ' order by relname = 'job_events')
        from pg_class
        where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p') and not relispartition
            and relname not in ('installed', 'tasks', 'pruning'));  -- job_events last: deletions are events
begin
    execute format('create function public.begin_play() returns void language plpgsql as %L', format(
        $body$ begin
            %s
            update dtsched.pruning set retention = default, rules = default;
            update public.clock set ahead = '0';
        end $body$, v_deletes));
end $$;

-- A live worker, and what it may show that it has been one for a while: it is a witness for rescue() at once.
create function public.worker(p_lease interval, p_slots integer) returns uuid language plpgsql as $$
declare
    v_worker uuid := gen_random_uuid();
begin
    perform dtsched.register_worker(v_worker, 'test', '{default,mail}', null, p_slots, p_lease);
    update dtsched.workers set unbroken_since = dtsched.now() - 2 * p_lease where id = v_worker;
    return v_worker;
end $$;

-- Time passes until a worker has not renewed for longer than its lease, and all others have.
create function public.lose(p_worker uuid) returns void language plpgsql as $$
begin
    update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = p_worker;
end $$;

-- All limits are lifted, all leases handed back, all time passes and somebody works: returns what has not ended even so.
create function public.work_off() returns table (job_id bigint, state text) language plpgsql as $$
declare
    v_worker uuid;
begin
    perform dtsched.deregister_worker(worker.id) from dtsched.workers worker order by worker.id;
    perform dtsched.set_limit(limited.limit_key, 100) from dtsched.limits limited;
    perform dtsched.resume(queue.name), dtsched.set_queue(queue.name, '{"limit": null, "rate": null}') from dtsched.queues queue;
    update public.clock set ahead = ahead + interval '1 day';
    v_worker := public.worker('1 hour', 100);
    for v_try in 1..12 loop
        perform dtsched.promote();
        perform dtsched.expire(v_worker);
        perform dtsched.finish(v_worker, array(
            select claimed.lease_id
            from unnest('{default,mail}'::text[]) queue
            cross join lateral dtsched.claim(v_worker, queue, 100) claimed));
        exit when not exists (select from dtsched.jobs job where job.finished_at is null);
    end loop;
    return query select job.id, job.state::text from dtsched.jobs job where job.finished_at is null;
end $$;

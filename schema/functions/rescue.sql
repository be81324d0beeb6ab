-- Takes jobs back from workers that are lost, and returns them with their new state. p_worker is who asks: only a witness,
-- a worker whose own renewals have been unbroken for one lease of its own, gets anything done. After an outage longer than
-- the lease, or a jump of the clock, the living therefore renew before anybody is judged. A lease is an orphan when its
-- worker is lost or its row is missing, never by a list of workers somebody remembers.
--
-- Under a pinned xmin leases is full of dead index entries, so this looks only into the gaps between the living workers'
-- ids in leases_worker_idx. What somebody holds, leases, jobs or limit keys, must not hide what lies behind: where that
-- leaves less than half of p_limit to take back, it looks at as many again, for a second at most.
--
-- Locks: workers by id and leases by id, SKIP LOCKED, then hand_back's, which waits for limit keys a tenth of a second and
-- for no lease and no running job: so it may take leases after them when it looks again. A finish that holds its lease
-- wins; one that comes later finds it gone.
create or replace function dtsched.rescue(p_worker uuid, p_limit integer default 1000)
returns table (job_id bigint, lease_id bigint, state text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := dtsched.now();
    v_begun timestamptz := clock_timestamp();
    v_worker uuid := '00000000-0000-0000-0000-000000000000';  -- this one's leases and those before have been looked at,
    v_job bigint := 9223372036854775807;  -- its own up to this job
    v_orphans bigint[];
    v_full boolean;
    v_rows integer;
    v_count integer := 0;
begin
    if not exists (select from dtsched.workers witness
                   where witness.id = p_worker and witness.lost_at is null and witness.expires_at > v_now
                       and witness.unbroken_since <= v_now - witness.lease) then
        return;
    end if;
    -- the clock went back: nobody's lease ends later than one lease from now
    update dtsched.workers worker
    set expires_at = v_now + worker.lease
    where worker.id = any (array(select ahead.id from dtsched.workers ahead
                                 where ahead.expires_at > v_now + 2 * ahead.lease
                                 order by ahead.id for no key update skip locked));
    update dtsched.workers worker
    set lost_at = v_now
    where worker.id = any (array(select expired.id from dtsched.workers expired
                                 where expired.lost_at is null and expired.expires_at < v_now
                                 order by expired.id for no key update skip locked));
    delete from dtsched.workers worker
    where worker.id = any (array(select gone.id from dtsched.workers gone
                                 where gone.lost_at < v_now - interval '1 day'
                                     -- or it has stopped (see deregister_worker) and nothing is left. Of others nothing is asked,
                                     -- and not with exists(), which might be hashed: both walk dead leases
                                     or case when gone.lost_at < gone.expires_at
                                             then (select lease.id from dtsched.leases lease
                                                   where lease.worker_id = gone.id limit 1) is null end
                                 order by gone.id for update skip locked));

    loop
        select array_agg(orphan.id), count(*) = p_limit - v_count, (array_agg(orphan.worker_id))[count(*)],
            (array_agg(orphan.job_id))[count(*)]
        into v_orphans, v_full, v_worker, v_job
        from (
            select orphan.id, orphan.worker_id, orphan.job_id
            from (select living.id as above, living.job_id,
                      coalesce(lead(living.id) over (order by living.id), 'ffffffff-ffff-ffff-ffff-ffffffffffff') as below
                  from (select worker.id, 9223372036854775807 as job_id
                        from dtsched.workers worker
                        where worker.lost_at is null and worker.id > v_worker
                        union all select v_worker, v_job) living) gap
            cross join lateral (
                select lease.id, lease.worker_id, lease.job_id
                from dtsched.leases lease
                where (lease.worker_id, lease.job_id) > (gap.above, gap.job_id) and lease.worker_id < gap.below
                order by lease.worker_id, lease.job_id
                limit p_limit - v_count) orphan
            order by gap.above, orphan.worker_id, orphan.job_id
            limit p_limit - v_count) orphan;
        exit when v_orphans is null;
        v_orphans := array(select lease.id from dtsched.leases lease where lease.id = any (v_orphans)
                           order by lease.id for update skip locked);
        return query
        select back.job_id, back.lease_id, back.state
        from dtsched.hand_back(v_orphans, true, 'its worker was lost: no renewal within the lease') back;
        get diagnostics v_rows = row_count;
        v_count := v_count + v_rows;
        exit when not v_full or 2 * v_count >= p_limit or clock_timestamp() > v_begun + interval '1 s';
    end loop;
end $$;

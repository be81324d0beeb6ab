-- Ends an attempt of a worker over HTTP, who shows the lease's secret. p_outcome is as one of finish()'s p_others, or
-- {"outcome": "complete", "result": …}; p_body is a digest of what was sent. Returns what came of it, and the job's state then:
-- accepted; repeated: the same was accepted before, and counts; otherwise: it was finished before, otherwise; gone: there is no
-- such lease, or it is another worker's, or this is not its secret (nobody is told which).
--
-- Invariant: the receipt is written in the transaction that deletes the lease, so whoever finds no lease finds, in a new
-- statement, either the receipt or that the lease was taken away. A lease with a secret is passed over by finish() and the
-- like, so that ids alone, which others can read, finish nothing: here the secret is taken off the row, which stays locked
-- until the commit, and from then on it is finished as any other.
-- Raises JQ004 for a worker that is not this owner's; a lost one may finish what nobody has taken back. Reads leases_pkey,
-- receipts_pkey. Locks: the lease, finish's.
create or replace function dtsched.finish_lease(
    p_worker uuid,
    p_owner text,
    p_lease bigint,
    p_secret text,
    p_outcome jsonb,
    p_body bytea
)
returns table (outcome text, state text)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_digest bytea;
    v_job bigint;
    v_state text;
    v_accepted bigint[];
begin
    perform dtsched.require_read_committed();
    perform dtsched.require_http_worker(p_worker, p_owner);
    select lease.secret, lease.job_id
    into v_digest, v_job
    from dtsched.leases lease
    where lease.id = p_lease and (lease.worker_id = p_worker) is true;
    if dtsched.is_secret(v_digest, p_secret) then
        update dtsched.leases lease set secret = null where lease.id = p_lease and lease.secret is not null;
        if found then
            if p_outcome ->> 'outcome' = 'complete' then
                v_accepted := array(
                    select dtsched.finish(p_worker, array[p_lease], jsonb_build_array(p_outcome -> 'result')));
            else
                v_accepted := array(
                    select dtsched.finish(p_worker, '{}', null,
                                          jsonb_build_array(p_outcome || jsonb_build_object('lease', p_lease))));
            end if;
            if v_accepted <> array[p_lease] then
                raise exception 'finish() refused lease % although it is held', p_lease;
            end if;
            select job.state into v_state from dtsched.jobs job where job.id = v_job;
            insert into dtsched.receipts (lease_id, worker_id, secret, body, state)
            values (p_lease, p_worker, v_digest, p_body, v_state)
            on conflict on constraint receipts_pkey do update  -- of before a backup was restored
            set worker_id = excluded.worker_id, secret = excluded.secret, body = excluded.body, state = excluded.state,
                at = excluded.at;
            return query select 'accepted', v_state;
            return;
        end if;
    end if;
    return query
    select case when receipt.body = p_body then 'repeated' else 'otherwise' end, receipt.state
    from dtsched.receipts receipt
    where receipt.lease_id = p_lease and receipt.worker_id = p_worker and dtsched.is_secret(receipt.secret, p_secret);
    if not found then
        return query select 'gone', null::text;
    end if;
end $$;

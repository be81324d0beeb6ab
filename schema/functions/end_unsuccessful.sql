-- Ends jobs that nobody holds a lease of any more as failed or cancelled, frees their keys, and cancels what depends on
-- them. The caller holds the leases' or the jobs' locks. Locks: jobs by id, keys sorted, then cancel_descendants's.
create or replace function dtsched.end_unsuccessful(p_jobs bigint[], p_state text, p_error text) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_ended bigint[];
    v_keys text[];
begin
    perform dtsched.require_read_committed();
    with ended as (
        update dtsched.jobs job
        set state = p_state,
            finished_at = dtsched.now(),
            error = left(p_error, 500)
        where job.id = any (array(select id from unnest(p_jobs) id order by id))
            and job.state in ('blocked', 'scheduled', 'ready', 'running')
        returning job.id, job.key
    )
    select array_agg(ended.id), array_agg(ended.key::text) filter (where ended.key is not null)
    into v_ended, v_keys
    from ended;
    if v_keys is not null then
        perform dtsched.free_keys(v_keys, v_ended);
    end if;
    if v_ended is not null then
        delete from dtsched.blocked waiting where waiting.job_id = any (v_ended);
        perform dtsched.note_unsuccessful(v_ended);
        perform dtsched.cancel_descendants(v_ended);
    end if;
end $$;

-- Notes the chunks of ids that have come to be since, at most 10,000 at a time, and has all of them looked at again when p_all
-- or when the rules have changed. Where the sequence was moved forward and back, those beyond it do not count. p_all also finds jobs that were restored where none had been. Called by prune() alone, which sees to it that one does this at a time.
create or replace function dtsched.find_prunable(p_all boolean) returns void
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
declare
    c_size constant bigint := 10000;
    v_last bigint := (select last_value from dtsched.job_id_seq) / c_size;
    v_next bigint := coalesce((select max(known.chunk) + 1 from dtsched.prunable known where known.chunk <= v_last),
                              (select min(job.id) from dtsched.jobs job) / c_size, v_last);
    v_rules text := dtsched.retention_digest();
begin
    if v_last - v_next > 10000 then  -- the sequence was moved, or much was restored
        v_next := greatest(v_next, coalesce((select min(job.id) from dtsched.jobs job where job.id >= v_next * c_size) / c_size,
                                            v_last));
    end if;
    insert into dtsched.prunable (chunk) select generate_series(v_next, least(v_last, v_next + 9999)) on conflict do nothing;
    if p_all then
        -- from one chunk that has a job to the next one: most may have none
        with recursive met (chunk) as (
            select (select min(job.id) from dtsched.jobs job where job.id < v_next * c_size) / c_size
            union all
            select (select min(job.id) from dtsched.jobs job
                    where job.id >= (met.chunk + 1) * c_size and job.id < v_next * c_size) / c_size
            from met
            where met.chunk is not null
        )
        insert into dtsched.prunable (chunk) select met.chunk from met where met.chunk is not null
        on conflict do nothing;
    end if;
    update dtsched.pruning set rules = v_rules where pruning.rules <> v_rules;
    if found or p_all then
        update dtsched.prunable known set due_at = '-infinity' where known.due_at > '-infinity';
    end if;
end $$;

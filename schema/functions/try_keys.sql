-- One try of take_keys(): takes the keys that nobody holds, and those of p_over that are to be had, and returns in the given
-- order who holds them now: null where a holder ended in between. "over" are keys, not in p_over, of jobs that have ended: to
-- be had, or those jobs' own, and null if there are none. Unless all is well, the caller lets everything go and tries again: a
-- key taken late would be out of order. He does so by leaving the block from which he has called this, for who has waited
-- for what an inner block had done and ended goes on to wait for the end of the whole transaction.
-- Locks: keys in sorted order; not those that others hold on.
create or replace function dtsched.try_keys(
    p_keys text[],
    p_ids bigint[],
    p_untils timestamptz[],
    p_over text[],
    out holders bigint[],
    out over text[]
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    if p_over = '{}' then
        insert into dtsched.keys (key, job_id, until)
        select wanted.key, min(wanted.id), (array_agg(wanted.until order by wanted.id))[1]
        from unnest(p_keys, p_ids, p_untils) as wanted (key, id, until)
        where wanted.key is not null
        group by wanted.key
        order by wanted.key
        on conflict do nothing;
    else
        perform case when wanted.key = any (p_over) then dtsched.take_key(wanted.key, wanted.id, wanted.until)
                     else dtsched.take_free_key(wanted.key, wanted.id, wanted.until) end
        from (
            select wanted.key, min(wanted.id) as id, (array_agg(wanted.until order by wanted.id))[1] as until
            from unnest(p_keys, p_ids, p_untils) as wanted (key, id, until)
            where wanted.key is not null
            group by wanted.key
            order by wanted.key) wanted;
    end if;
    select array_agg(case when wanted.key is null then wanted.id else taken.job_id end order by wanted.n),
        array_agg(wanted.key) filter (where taken.is_over and wanted.key <> all (p_over))
    into holders, over
    from unnest(p_keys, p_ids) with ordinality as wanted (key, id, n)
    -- under REPEATABLE READ one that has ended since the snapshot is still seen beside the new entry
    left join lateral (
        select entry.job_id,
            case when entry.until is null then false
                 when entry.job_id = any (p_ids) then exists (select from dtsched.jobs job where job.id = entry.job_id)
                 else not exists (
                     select from dtsched.jobs job
                     where job.id = entry.job_id
                         and (job.state in ('blocked', 'scheduled', 'ready', 'running') or entry.until > dtsched.now()))
            end as is_over
        from dtsched.keys entry
        where entry.key = wanted.key
        order by (entry.job_id = any (p_ids)) desc
        limit 1) taken on true;
end $$;

-- Takes a key for each job id (null = none wanted), or finds who holds it: returns, in the given order, the id itself or the
-- id of the unfinished job that has the key. Waits for a rival that has not committed yet. Locks: keys in sorted order.
create or replace function dtsched.take_keys(p_keys text[], p_ids bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_holders bigint[];
begin
    if array_remove(p_keys, null) = '{}' then
        return p_ids;
    end if;
    loop
        begin
            insert into dtsched.keys (key, job_id)
            select wanted.key, min(wanted.id)
            from unnest(p_keys, p_ids) as wanted (key, id)
            where wanted.key is not null
            group by wanted.key
            order by wanted.key
            on conflict do nothing;
            select array_agg(case when wanted.key is null then wanted.id else taken.job_id end order by wanted.n)
            into v_holders
            from unnest(p_keys, p_ids) with ordinality as wanted (key, id, n)
            -- under REPEATABLE READ one that has ended since the snapshot is still seen beside the new entry
            left join lateral (
                select entry.job_id
                from dtsched.keys entry
                where entry.key = wanted.key
                order by (entry.job_id = any (p_ids)) desc
                limit 1) taken on true;
            if array_position(v_holders, null) is null then
                return v_holders;
            end if;
            raise exception 'a holder ended in between' using errcode = 'JQ000';
        exception
            when sqlstate 'JQ000' then null;  -- again, and with nothing in hand: a key taken late would be out of order
        end;
    end loop;
end $$;

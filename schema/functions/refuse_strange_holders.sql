-- Raises JQ003 where the job that holds one of these keys is of a queue that the submitter may not see (p_queues; null: he
-- may see all). To be called with the keys in hand. Locks: none.
create or replace function dtsched.refuse_strange_holders(p_keys text[], p_ids bigint[], p_holders bigint[], p_queues text[])
returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_wrong integer[];
    v_problems text[];
begin
    if p_queues is null then
        return;
    end if;
    select array_agg(held.n::integer order by held.n), array_agg(held.problem order by held.n)
    into v_wrong, v_problems
    from (select taken.n, dtsched.strange_holder(taken.key, taken.holder, p_queues) as problem
          from unnest(p_keys, p_ids, p_holders) with ordinality as taken (key, id, holder, n)
          where taken.key is not null and taken.holder <> taken.id) held
    where held.problem is not null;
    if v_wrong is not null then
        perform dtsched.refuse(v_wrong, v_problems, cardinality(p_ids), 'JQ003', 'key');
    end if;
end $$;

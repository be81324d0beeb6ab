-- Raises JQ001 where one of these new jobs depends on one of a queue that the submitter may not see (p_queues; null: he may
-- see all), in the words for a job that is not there. batch_problems() has found those that could be found; this meets a key
-- that has changed hands since. Reads jobs_pkey. Locks: none.
create or replace function dtsched.refuse_strange_parents(p_ids bigint[], p_queues text[]) returns void
language plpgsql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
declare
    v_wrong integer[];
begin
    if p_queues is null then
        return;
    end if;
    v_wrong := array(
        select distinct made.n::integer
        from unnest(p_ids) with ordinality as made (id, n)
        join dtsched.jobs job on job.id = made.id
        cross join lateral unnest(job.depends_on) named (id)
        join dtsched.jobs parent on parent.id = named.id
        where parent.queue <> all (p_queues)
        order by 1);
    if v_wrong <> '{}' then
        perform dtsched.refuse(v_wrong, array_fill('depends_on names a job that does not exist'::text, array[cardinality(v_wrong)]),
            cardinality(p_ids), 'JQ001', 'depends_on');
    end if;
end $$;

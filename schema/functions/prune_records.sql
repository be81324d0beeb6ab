-- Forgets operations that ended over 30 days ago and lines of the audit that are over 90 days old, at most 1000 of each, oldest first, and
-- returns how many. Reads operations_pkey, audit_pkey. Locks: those rows SKIP LOCKED.
create or replace function dtsched.prune_records() returns integer
language sql volatile security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
    with operations as (
        delete from dtsched.operations operation
        where operation.id = any (array(
            select old.id
            from dtsched.operations old
            where old.finished_at < dtsched.now() - interval '30 days'
            order by old.id
            limit 1000
            for update skip locked))
        returning operation.id
    ),
    lines as (
        delete from dtsched.audit line
        where line.id = any (array(
            select old.id
            from dtsched.audit old
            where old.at < dtsched.now() - interval '90 days'
            order by old.id
            limit 1000
            for update skip locked))
        returning line.id
    )
    select (select count(*) from operations)::integer + (select count(*) from lines)::integer
$$;

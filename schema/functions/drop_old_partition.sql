-- Drops the oldest partition of jobs whose ids have all been given out, if prune() has left it no more than 1,000 jobs: those
-- live on in the default partition. Returns how many it dropped, one or none.
--
-- That needs jobs to itself, and everybody else queues up behind whoever waits for that: so it gives up after a twentieth of a
-- second, does not begin while a transaction that has used jobs has been open for a second, nor while the partition is slow to
-- be counted because it was not vacuumed yet. The next call tries again. Nobody has used the partition when the rows are moved,
-- so they are the same rows afterwards, leases and entries and all; triggers are for rows that are new.
-- Locks: ACCESS EXCLUSIVE on jobs, the partition and jobs_default, each waited for 50 ms.
create or replace function dtsched.drop_old_partition() returns integer
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set lock_timeout = '50ms'
set enable_seqscan = off
as $$
declare
    c_size constant bigint := 10000000;  -- as ensure_partitions() makes them
    c_most constant integer := 1000;
    v_columns text;
    v_n bigint;
    v_rows integer;
    v_began timestamptz;
begin
    for v_n in
        select substr(part.relname, 6)::bigint
        from pg_inherits child
        join pg_class part on part.oid = child.inhrelid
        where child.inhparent = 'dtsched.jobs'::regclass and part.relname ~ '^jobs_[0-9]{1,12}$'
            and (substr(part.relname, 6)::bigint + 1) * c_size <= (select last_value from dtsched.job_id_seq)
        order by 1
    loop
        v_began := clock_timestamp();
        execute format('select count(*) from (select from dtsched.%I limit %s) leftover', 'jobs_' || v_n, c_most + 1)
        into v_rows;
        continue when v_rows > c_most;
        if clock_timestamp() - v_began > interval '20 ms'
            or exists (
                select
                from pg_locks held
                join pg_stat_activity other on other.pid = held.pid
                where held.relation = 'dtsched.jobs'::regclass and held.pid <> pg_backend_pid()
                    and other.datname = current_database() and other.xact_start < clock_timestamp() - interval '1 second')
        then
            return 0;
        end if;
        execute format('alter table dtsched.jobs detach partition dtsched.%I', 'jobs_' || v_n);
        select string_agg(quote_ident(attname), ', ')
        into v_columns
        from pg_attribute
        where attrelid = 'dtsched.jobs'::regclass and attnum > 0 and not attisdropped and attgenerated = '';
        alter table dtsched.jobs_default disable trigger user;
        execute format('insert into dtsched.jobs_default (%1$s) select %1$s from dtsched.%2$I', v_columns, 'jobs_' || v_n);
        alter table dtsched.jobs_default enable trigger user;
        execute format('drop table dtsched.%I', 'jobs_' || v_n);
        return 1;
    end loop;
    return 0;
exception
    when lock_not_available or deadlock_detected or object_in_use then
        return 0;
end $$;

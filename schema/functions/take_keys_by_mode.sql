-- take_keys() for a batch in which some job says what is to become of the one that holds its key (on_conflict). The jobs of a
-- batch come one after another: a later one finds what an earlier one has left. What has not been made yet is not superseded
-- but replaced. Returns, each in the order of the batch, the jobs that the keys are with, what came of each (created, kept,
-- replaced, superseded), and the jobs to make and until when they hold their keys, with the values of those
-- that replaced them.
--
-- Keys are taken with nothing in hand; then the rows of the holders are, and of the parents that link_parents will lock, each
-- waited for 0.3 s at most, after which everything is let go and taken anew: whoever holds such a row may be waiting for
-- one of our keys. So this waits as long as somebody holds the row of a holder, or until the caller's lock_timeout has
-- passed, or a minute, and raises lock_not_available then. Raises JQ003 for a key that is held, as on_conflict reject asks, or by a job of none of p_queues.
-- Locks: take_keys's; then settle_keys's.
create or replace function dtsched.take_keys_by_mode(
    p_jobs jsonb,
    p_keys text[],
    p_ids bigint[],
    p_untils timestamptz[],
    p_queues text[],
    out holders bigint[],
    out outcomes text[],
    out jobs jsonb,
    out untils timestamptz[]
)
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_patience interval := current_setting('lock_timeout')::interval;
    v_until timestamptz := clock_timestamp()
        + case when v_patience > interval '0' then v_patience else interval '1 minute' end;
    v_over text[] := '{}';
    v_now_over text[];
    v_settling boolean;
begin
    loop
        v_settling := false;
        begin
            select tried.holders, tried.over
            into holders, v_now_over
            from dtsched.try_keys(p_keys, p_ids, p_untils, v_over) tried;
            if array_position(holders, null) is not null or v_now_over is not null then
                raise exception 'a holder ended in between, or has ended long ago' using errcode = 'JQ009';
            end if;
            perform dtsched.refuse_strange_holders(p_keys, p_ids, holders, p_queues);
            v_settling := true;
            select settled.holders, settled.outcomes, settled.jobs, settled.untils
            into holders, outcomes, jobs, untils
            from dtsched.settle_keys(p_jobs, p_keys, p_ids, p_untils, holders) settled;
            return;
        exception
            when sqlstate 'JQ009' or lock_not_available then  -- JQ000 would be all of class JQ, with the refusals
                if not v_settling and sqlstate = '55P03' then  -- the caller's own lock_timeout
                    raise;
                end if;
                v_over := v_over || coalesce(v_now_over, '{}');
                v_now_over := null;
        end;
        if clock_timestamp() > v_until then
            raise exception 'the job that holds the key cannot be changed now, because somebody holds its row: try again'
                using errcode = 'lock_not_available';
        end if;
        perform pg_sleep(0.002);
    end loop;
end $$;

-- From here on the end of a job is announced to this session's channel dtsched_done, if its id modulo 256 is among these
-- buckets. False: somebody has a lock for himself (those who finish do, for an instant), and nothing was taken. Called twice,
-- the locks stack up and want as many calls of unwatch_ended(). What ended in a transaction that began before is not
-- announced: look at the job after this, and now and then.
-- Locks: shared advisory locks of the session, on the gate and on each bucket; waits for none of them.
create or replace function dtsched.watch_ended(p_buckets integer[]) returns boolean
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_gate constant integer := dtsched.gate() + 1;
    v_taken integer[];
begin
    for v_try in 1..20 loop
        if pg_try_advisory_lock_shared(v_gate) then
            v_taken := array(select bucket from unnest(p_buckets) bucket where pg_try_advisory_lock_shared(v_gate, bucket));
            if cardinality(v_taken) = cardinality(p_buckets) then
                return true;
            end if;
            perform dtsched.unwatch_ended(v_taken);
        end if;
        perform pg_sleep(0.002);
    end loop;
    return false;
end $$;

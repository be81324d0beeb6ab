-- why() of a job that waits, as far as its deadline goes: when it is ended, if it has not ended by then. p_starts is when it
-- can begin at the earliest, where that is known.
create or replace function dtsched.why_deadline(p_deadline timestamptz, p_starts timestamptz, p_now timestamptz) returns text
language sql stable
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
    select case
        when p_deadline <= p_now then format('its deadline passed at %s; %s', date_trunc('second', p_deadline),
            case when exists (select from dtsched.workers worker where worker.expires_at > p_now)
                 then 'workers end it as failed within a second or two'
                 else 'no worker is alive to end it as failed: start one' end)
        when p_starts >= p_deadline then format('its deadline comes before that: it is ended as failed at %s, in %s',
            date_trunc('second', p_deadline), date_trunc('second', p_deadline - p_now))
        else format('unless it has ended by its deadline, it is ended as failed at %s, in %s',
            date_trunc('second', p_deadline), date_trunc('second', p_deadline - p_now)) end
$$;

-- Renews, five times in a lease, on a connection of its own; and ends the statement of the session that runs the handler when
-- its job's cancellation was asked for. If that session has gone, the division by zero ends this: its job is for others.
select pg_cancel_backend(:pid)
from (select 1 / count(*) as one from pg_stat_activity where pid = :pid) session
cross join lateral dtsched.renew(case session.one when 1 then :'worker'::uuid end) renewed
where renewed.cancelled <> '{}' \watch :every

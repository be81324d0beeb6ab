-- The leases that were made before the queue had its limit, and so are not counted by themselves: admit() looks for them one by
-- one, and forgets those that are gone. Whoever gives a queue a limit need not touch, nor wait for, any lease then.
alter table dtsched.queues add column uncounted bigint[] not null default '{}';
-- For who was setting a limit while leases came to be counted: this has waited for him.
update dtsched.queues
set uncounted = array(select lease.id from dtsched.leases lease where lease.queue = queues.name and not lease.counted)
where settings ? 'limit';

-- Whether the queue had a limit when the lease was made, or has got one since: only such leases are counted, and indexed. True
-- where nobody says, as in a claim that began before this was laid.
alter table dtsched.leases add column counted boolean not null default true;
drop index dtsched.leases_queue_idx;
create index leases_queue_idx on dtsched.leases (queue) where counted;

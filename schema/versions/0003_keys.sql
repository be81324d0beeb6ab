-- How long a key is held: while its job is unfinished and, with a time, at least until then.

-- no domain: one with a CHECK would have every row of jobs written anew, and there is no time that does harm
alter table dtsched.jobs add column key_until timestamptz;
alter table dtsched.keys add column until timestamptz;
create index keys_until_idx on dtsched.keys (until) where until is not null;

-- The attempt goes on, but another job has taken its job's key: it may complete, and not run again.
alter table dtsched.leases add column gave_up_key boolean not null default false;

drop function if exists dtsched.submit(
    text, jsonb, text, integer, timestamptz, interval, text, integer, interval, text, bigint[], text[], jsonb, timestamptz, text);
drop function if exists dtsched.submit_many(jsonb, boolean);
drop function if exists dtsched.take_keys(text[], bigint[]);

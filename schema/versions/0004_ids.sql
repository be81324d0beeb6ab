-- Ids that are exact in every JSON reader, and ids of leases that are given out once, also by a server that has gone back in
-- time: see new_epoch().

-- 2^53 - 1: enough for 28,000 years of 10,000 a second.
alter sequence dtsched.job_id_seq maxvalue 9007199254740991;
alter sequence dtsched.lease_id_seq maxvalue 9007199254740991;

-- One row: the start of the server, and the sequence, that ids of leases have been set forward for. The first row is that of
-- an empty schema, whose ids may begin at 1.
create table dtsched.lease_epoch (
    one               boolean not null default true constraint lease_epoch_pkey primary key constraint one_lease_epoch check (one),
    server_started_at timestamptz not null,
    ids               oid not null
);
insert into dtsched.lease_epoch (server_started_at, ids)
select case when sequence.is_called then '-infinity' else pg_postmaster_start_time() end, 'dtsched.lease_id_seq'::regclass
from dtsched.lease_id_seq sequence;

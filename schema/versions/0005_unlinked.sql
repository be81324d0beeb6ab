-- What a transaction has submitted that depends on other jobs, a row for each statement that submitted some, from that statement
-- to the commit, where it links them (link_parents). Nobody else ever sees a row of it.
create table dtsched.unlinked (
    xid      xid8 not null default pg_current_xact_id(),
    n        bigint generated always as identity,
    children bigint[] not null,
    constraint unlinked_pkey primary key (xid, n)
);
alter table dtsched.unlinked alter column children set storage external;  -- it is read once, at once

drop trigger if exists link_parents on dtsched.jobs;
drop function if exists dtsched.note_unlinked(text), dtsched.take_unlinked(), dtsched.link_children(bigint);

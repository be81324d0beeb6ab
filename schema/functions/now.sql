-- The only clock of dtsched: the database's, read at the call and not at the transaction's start. A lease granted with now()
-- after a lock wait was measured to be expired when granted. Tests replace this one function to travel in time.
create or replace function dtsched.now() returns timestamptz
language sql volatile parallel safe
as $$ select clock_timestamp() $$;

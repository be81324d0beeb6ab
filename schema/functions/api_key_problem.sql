-- What is wrong with what create_key() is given, in one sentence that begins with the parameter, or null.
create or replace function dtsched.api_key_problem(
    p_id text, p_name text, p_digest bytea, p_scopes text[], p_queues text[], p_expires_in interval)
returns text
language sql immutable
set search_path = pg_catalog, dtsched, pg_temp
as $$
    select case
        when p_id is null or p_id !~ '^[a-z0-9]{12}$'
            then format('id must be 12 characters out of a-z 0-9, not %s', coalesce(dtsched.shown(to_jsonb(p_id)), 'null'))
        when p_name is null or p_name !~ '^[A-Za-z0-9._:-]+$' or octet_length(p_name) > 128
            then format('name must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %s',
                        coalesce(dtsched.shown(to_jsonb(p_name)), 'null'))
        when p_digest is null or octet_length(p_digest) <> 32
            then 'digest must be the 32 bytes of a SHA-256'
        when coalesce(cardinality(p_scopes), 0) = 0
            then 'scopes must be some of submit, read, read-args, operate, worker, admin: a key without any may do nothing'
        when not p_scopes <@ array['submit', 'read', 'read-args', 'operate', 'worker', 'admin']
            then (select format('scopes must be some of submit, read, read-args, operate, worker, admin, not %s',
                                coalesce(dtsched.shown(to_jsonb(given.scope)), 'null'))
                  from unnest(p_scopes) given (scope)
                  where given.scope <> all (array['submit', 'read', 'read-args', 'operate', 'worker', 'admin'])
                     or given.scope is null
                  limit 1)
        when cardinality(p_queues) not between 1 and 100
            then 'queues must be 1 to 100 names, or null for all queues'
        when exists (
            select from unnest(p_queues) given (queue)
            where given.queue is null or given.queue !~ '^[A-Za-z0-9._:-]+$' or octet_length(given.queue) > 128)
            then (select format('queues must be names of 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not %s',
                                coalesce(dtsched.shown(to_jsonb(given.queue)), 'null'))
                  from unnest(p_queues) given (queue)
                  where given.queue is null or given.queue !~ '^[A-Za-z0-9._:-]+$' or octet_length(given.queue) > 128
                  limit 1)
        when p_expires_in <= interval '0' or p_expires_in > interval '3660 days'
            then format('expires_in must be over 0 and at most 3660 days, not %s', p_expires_in)
    end
$$;

-- Whether this is the secret that the digest (SHA-256) is of. Both sides are hashed once more with a salt of this call's own, so
-- how long the comparison takes says nothing of how far they agree.
create or replace function dtsched.is_secret(p_digest bytea, p_secret text) returns boolean
language plpgsql volatile
set search_path = pg_catalog, dtsched, pg_temp
as $$
declare
    v_salt bytea := uuid_send(gen_random_uuid());
begin
    return (sha256(v_salt || p_digest) = sha256(v_salt || sha256(convert_to(p_secret, 'UTF8')))) is true;
end $$;

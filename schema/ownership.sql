-- Refuses to lay anything where somebody else has a hand in. What is laid in a schema of somebody else's, or calls what
-- somebody else has put there, would run that with the rights of whoever migrates. Run before everything else.
do $$
declare
    v_schema oid := (select oid from pg_catalog.pg_namespace where nspname = 'dtsched');
    v_me oid := (select oid from pg_catalog.pg_roles where rolname = current_user);
    v_foreign text;
begin
    select pg_catalog.string_agg(distinct object.owner::regrole::text, ', ')
    into v_foreign
    from (
        select nspowner from pg_catalog.pg_namespace where oid = v_schema
        union all select relowner from pg_catalog.pg_class where relnamespace = v_schema
        union all select proowner from pg_catalog.pg_proc where pronamespace = v_schema
        union all select typowner from pg_catalog.pg_type where typnamespace = v_schema
        union all select oprowner from pg_catalog.pg_operator where oprnamespace = v_schema
    ) object (owner)
    where object.owner <> v_me;
    if v_foreign is not null then
        raise exception 'the schema dtsched, or something in it, belongs to %: migrate as its owner, or drop it', v_foreign
            using errcode = '42501';
    end if;
    select pg_catalog.string_agg(distinct coalesce(pg_catalog.pg_get_userbyid(nullif(acl.grantee, 0)), 'everybody'), ', ')
    into v_foreign
    from pg_catalog.pg_namespace
    cross join lateral pg_catalog.aclexplode(nspacl) acl
    where oid = v_schema and acl.privilege_type = 'CREATE' and acl.grantee <> v_me;
    if v_foreign is not null then
        raise exception '% may create in the schema dtsched: nobody but its owner should', v_foreign
            using errcode = '42501', hint = 'REVOKE CREATE ON SCHEMA dtsched';
    end if;
end $$;

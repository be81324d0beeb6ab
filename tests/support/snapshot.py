"""The schema as one text that PostgreSQL 15 and 18 write alike, and the command that renews schema/snapshot.sql:

    python -m tests.support.snapshot

Functions are there by their signature, settings and rights; their bodies are in schema/functions/.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import LiteralString

import psycopg

from dtsched import migrations
from tests.support.servers import Databases, test_server

FILE = Path(__file__).parents[2] / "schema" / "snapshot.sql"
_HEADER = """\
-- What `dtsched migrate up` lays, read back from the catalogue; a test keeps it true.
-- Renew it with: python -m tests.support.snapshot
"""
# Each query gives one text a row. pg_constraint's "n" (not null) is new in 18 and said by the columns already.
_QUERIES: tuple[LiteralString, ...] = (
    """
    select format('create domain dtsched.%I as %s%s;', domain.typname,
        format_type(domain.typbasetype, domain.typtypmod),
        string_agg(format(E'\\n    constraint %I %s', con.conname, pg_get_constraintdef(con.oid)), ''
                   order by con.conname))
    from pg_type domain
    join pg_constraint con on con.contypid = domain.oid and con.contype = 'c'
    where domain.typnamespace = 'dtsched'::regnamespace
    group by domain.oid
    order by domain.typname collate "C"
    """,
    """
    select format('create sequence %s as %s cache %s;', seqrelid::regclass, seqtypid::regtype, seqcache)
    from pg_sequence
    join pg_class on oid = seqrelid
    where relnamespace = 'dtsched'::regnamespace
    order by relname collate "C"
    """,
    """
    select format(E'create table dtsched.%I (\\n%s\\n)%s%s;', rel.relname,
        array_to_string(
            array(
                select format('    %I %s%s%s%s', att.attname, format_type(att.atttypid, att.atttypmod),
                    ' default ' || pg_get_expr(def.adbin, def.adrelid),
                    case att.attidentity when 'a' then ' generated always as identity' else '' end,
                    case when att.attnotnull then ' not null' else '' end)
                from pg_attribute att
                left join pg_attrdef def on def.adrelid = rel.oid and def.adnum = att.attnum
                where att.attrelid = rel.oid and att.attnum > 0 and not att.attisdropped
                order by att.attnum)
            || array(
                select format('    constraint %I %s', con.conname, pg_get_constraintdef(con.oid))
                from pg_constraint con
                where con.conrelid = rel.oid and con.contype in ('c', 'p', 'u', 'f', 'x')
                order by con.conname collate "C"),
            E',\\n'),
        ' partition by ' || pg_get_partkeydef(rel.oid),
        ' with (' || array_to_string(array(select unnest(rel.reloptions) option order by 1), ', ') || ')')
    from pg_class rel
    where rel.relnamespace = 'dtsched'::regnamespace and rel.relkind in ('r', 'p') and not rel.relispartition
        and rel.relname <> 'alembic_version'
    order by rel.relname collate "C"
    """,
    """
    select format('create table dtsched.%I partition of %s %s with (%s);', rel.relname, inh.inhparent::regclass,
        pg_get_expr(rel.relpartbound, rel.oid), array_to_string(rel.reloptions, ', '))
    from pg_class rel
    join pg_inherits inh on inh.inhrelid = rel.oid
    where rel.relnamespace = 'dtsched'::regnamespace and rel.relkind = 'r' and rel.relispartition
    order by rel.relname collate "C"
    """,
    """
    select pg_get_indexdef(index.indexrelid) || ';'
    from pg_index index
    join pg_class rel on rel.oid = index.indexrelid
    where rel.relnamespace = 'dtsched'::regnamespace and not rel.relispartition
        and not exists (select from pg_constraint con where con.conindid = index.indexrelid)
    order by rel.relname collate "C"
    """,
    """
    select pg_get_triggerdef(trg.oid) || ';'
    from pg_trigger trg
    join pg_class rel on rel.oid = trg.tgrelid
    where rel.relnamespace = 'dtsched'::regnamespace and not trg.tgisinternal and trg.tgparentid = 0
    order by rel.relname collate "C", trg.tgname collate "C"
    """,
    """
    select format(E'create function dtsched.%I(%s)\\n    returns %s\\n    language %s%s%s%s%s;', fun.proname,
        pg_get_function_arguments(fun.oid), pg_get_function_result(fun.oid), lang.lanname,
        case fun.provolatile when 'i' then ' immutable' when 's' then ' stable' else ' volatile' end,
        case fun.proparallel when 's' then ' parallel safe' else '' end,
        case when fun.prosecdef then ' security definer' else '' end,
        (select string_agg(E'\\n    set ' || setting, '' order by n)
         from unnest(fun.proconfig) with ordinality as set (setting, n)))
    from pg_proc fun
    join pg_language lang on lang.oid = fun.prolang
    where fun.pronamespace = 'dtsched'::regnamespace
    order by fun.proname collate "C", pg_get_function_arguments(fun.oid) collate "C"
    """,
    """
    select format('grant %s on %s to %s;',
        lower(string_agg(acl.privilege_type, ', ' order by acl.privilege_type collate "C")),
        object.name, coalesce(grantee.rolname, 'public'))
    from (
        select 'schema dtsched', nspacl, nspowner from pg_namespace where nspname = 'dtsched'
        union all
        select 'table dtsched.' || relname, relacl, relowner from pg_class
        where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p')
        union all
        select 'sequence dtsched.' || relname, relacl, relowner from pg_class
        where relnamespace = 'dtsched'::regnamespace and relkind = 'S'
        union all
        select 'table dtsched.' || relname || ' (' || attname || ')', attacl, relowner
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'dtsched'::regnamespace and attacl is not null
        union all
        select format('function dtsched.%I(%s)', proname, pg_get_function_identity_arguments(oid)),
            coalesce(proacl, acldefault('f', proowner)), proowner
        from pg_proc where pronamespace = 'dtsched'::regnamespace
    ) as object (name, acl, owner)
    cross join lateral aclexplode(object.acl) acl
    left join pg_roles grantee on grantee.oid = acl.grantee
    where acl.grantee <> object.owner
    group by object.name, grantee.rolname
    order by object.name collate "C", grantee.rolname collate "C"
    """,
)


def snapshot(dsn: str) -> str:
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute("set search_path = pg_catalog")  # so that every name of ours is written in full
        connection.execute("set timezone = 'UTC'")
        sections = ["\n".join(row[0] for row in connection.execute(query)) for query in _QUERIES]
    return "\n\n".join([_HEADER.rstrip(), *sections]) + "\n"


def main() -> None:
    with test_server() as server, contextlib.closing(Databases(server)) as databases:
        name = databases.create()
        try:
            migrations.up(databases.dsn(name))
            FILE.write_text(snapshot(databases.dsn(name)))
        finally:
            databases.drop(name)


if __name__ == "__main__":
    main()

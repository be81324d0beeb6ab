"""Who may do what in the schema, as PostgreSQL itself answers, and the command that renews tests/sql/rights.txt:

    python -m tests.support.rights

Each role, and what everybody may (public), is asked for each privilege on the schema, each table, each column of it,
each sequence, each type and each function that the catalogue has. The file has a line for every yes.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psycopg

from dtsched import migrations
from tests.support.servers import Databases, test_server

FILE = Path(__file__).parents[1] / "sql" / "rights.txt"
ROLES = (
    "public",
    "dtsched_submit",
    "dtsched_worker",
    "dtsched_monitor",
    "dtsched_reader",
    "dtsched_operator",
    "dtsched_api",
)
_HEADER = """\
# What each role may do in the schema dtsched; a test keeps it true. What is not here is refused.
# Renew it with: python -m tests.support.rights
"""
_CELLS = b"""
    with
        role (name) as (select unnest(%(roles)s::text[])),
        privilege_of (kind, names) as (
            values ('schema', '{create,usage}'::text[]),
                ('table', '{select,insert,update,delete,truncate,references,trigger}'),
                ('column', '{select,insert,update,references}'), ('sequence', '{usage,select,update}'),
                ('type', '{usage}'), ('function', '{execute}')),
        ours (oid) as (select oid from pg_namespace where nspname = 'dtsched'),
        object (kind, oid, attnum, name) as (
            select 'schema', oid, 0, 'dtsched' from ours
            union all
            select 'table', pg_class.oid, 0, relname from pg_class join ours on relnamespace = ours.oid
            where relkind in ('r', 'p', 'v', 'm', 'f')
            union all
            select 'column', attrelid, attnum, relname || '.' || attname
            from pg_attribute join pg_class on pg_class.oid = attrelid join ours on relnamespace = ours.oid
            where relkind in ('r', 'p', 'v', 'm', 'f') and not attisdropped
            union all
            select 'sequence', pg_class.oid, 0, relname from pg_class join ours on relnamespace = ours.oid
            where relkind = 'S'
            union all
            select 'type', pg_type.oid, 0, typname from pg_type join ours on typnamespace = ours.oid
            where typtype in ('c', 'd')
            union all
            select 'function', pg_proc.oid, 0,
                format('%%s(%%s)', proname, replace(pg_get_function_identity_arguments(pg_proc.oid), 'dtsched.', ''))
            from pg_proc join ours on pronamespace = ours.oid
        )
    select role.name, privilege.name, object.kind, object.name,
        case object.kind
            when 'schema' then has_schema_privilege(role.name, object.oid, privilege.name)
            when 'table' then has_table_privilege(role.name, object.oid, privilege.name)
            when 'column' then has_column_privilege(role.name, object.oid, object.attnum::smallint, privilege.name)
            when 'sequence' then has_sequence_privilege(role.name, object.oid, privilege.name)
            when 'type' then has_type_privilege(role.name, object.oid, privilege.name)
            when 'function' then has_function_privilege(role.name, object.oid, privilege.name)
        end
    from role
    cross join object
    join privilege_of on privilege_of.kind = object.kind
    cross join lateral unnest(privilege_of.names) privilege (name)
    order by array_position(%(roles)s::text[], role.name),
        array_position('{schema,table,column,sequence,type,function}', object.kind), object.name collate "C",
        privilege.name collate "C"
"""


def rights(connection: psycopg.Connection[Any]) -> tuple[str, int]:
    """The text of the file, and how many cells were asked for."""
    cells = connection.execute(_CELLS, {"roles": list(ROLES)}).fetchall()
    granted = [f"{role:17}{privilege:9}{kind:9}{name}" for role, privilege, kind, name, may in cells if may]
    return "\n".join([_HEADER, *granted]) + "\n", len(cells)


def main() -> None:
    with test_server() as server, contextlib.closing(Databases(server)) as databases:
        name = databases.create()
        try:
            migrations.up(databases.dsn(name))
            with contextlib.closing(psycopg.connect(databases.dsn(name), autocommit=True)) as connection:
                FILE.write_text(rights(connection)[0])
        finally:
            databases.drop(name)


if __name__ == "__main__":
    main()

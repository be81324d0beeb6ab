"""A14, before there is a schema: nothing is laid where somebody else could put something of its own in the way."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg import sql

from dtsched import migrations
from dtsched.errors import DatabaseUnreachable

SQUATTERS: list[tuple[LiteralString, str]] = [
    ("create schema dtsched authorization {me}", "belongs to {me}"),
    ("create schema dtsched; grant usage, create on schema dtsched to {me}", "{me} may create in the schema dtsched"),
    ("create schema dtsched; grant create on schema dtsched to public", "everybody may create"),
    (
        "create schema dtsched; grant all on schema dtsched to {me}; set role {me};"
        " create function dtsched.now() returns timestamptz language sql as 'select null::timestamptz';"
        " reset role; revoke all on schema dtsched from {me}",
        "belongs to {me}",
    ),
    (
        "create schema dtsched; grant all on schema dtsched to {me}; set role {me};"
        " create table dtsched.alembic_version (version_num text); reset role; revoke all on schema dtsched from {me}",
        "belongs to {me}",
    ),
]


@pytest.fixture
def squatter(empty_database: str) -> Generator[str]:
    name = f"squatter_{time.monotonic_ns()}"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize(("statements", "says"), SQUATTERS)
@pytest.mark.parametrize("by", ["up", "script"])
def test_a14_nothing_is_laid_where_somebody_else_has_a_hand_in(
    empty_database: str, squatter: str, statements: LiteralString, says: str, by: str
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(sql.SQL(statements).format(me=sql.Identifier(squatter)))
        tables = "select oid::regclass::text from pg_class where relnamespace = 'dtsched'::regnamespace"
        before = connection.execute(tables.encode()).fetchall()
        with pytest.raises((DatabaseUnreachable, psycopg.errors.InsufficientPrivilege), match=says.format(me=squatter)):
            lay(by, empty_database)
        assert connection.execute(tables.encode()).fetchall() == before
        connection.execute("drop schema dtsched cascade")
    migrations.up(empty_database)


@pytest.mark.parametrize("path", ["public", "public, pg_catalog"])
@pytest.mark.parametrize("by", ["up", "script"])
def test_a14_nothing_that_stands_on_the_search_path_is_called_by_what_is_laid(
    empty_database: str, squatter: str, path: LiteralString, by: str
) -> None:
    """With arguments of exactly these types it would be taken, even behind pg_catalog."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set search_path = {}").format(name, sql.SQL(path)))
        connection.execute(
            sql.SQL("grant create on schema public to {0}; set role {0}").format(sql.Identifier(squatter))
        )
        for types in ("text, text", "text, regtype", "text, regprocedure, text"):
            connection.execute(
                f"create function public.format({types}) returns text language plpgsql"
                " as 'begin raise exception ''hijacked''; end'".encode()
            )
    lay(by, empty_database)


def lay(by: str, dsn: str) -> None:
    if by == "up":
        migrations.up(dsn)
    else:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(cast("LiteralString", migrations.sql()))

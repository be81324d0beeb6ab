"""A database that cannot be reached, does not let us in, or has another schema: one line that says what to do, of a
type of ours, and never the DSN or the password in it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched import (
    App,
    Client,
    DatabaseUnreachable,
    DtschedError,
    InvalidInput,
    SchemaMismatch,
    SchemaMissing,
    migrations,
)
from dtsched.connections import unreachable
from dtsched.embedded import Cluster

Way = Callable[[str], Awaitable[object]]

SECRET = "hunter2"


def echo(value: int) -> int:
    return value


async def submits(dsn: str) -> None:
    async with App(dsn) as app:
        await app.task(echo).submit(1)


async def submits_synchronously(dsn: str) -> None:
    await asyncio.to_thread(App(dsn).task(echo).submit_sync, 1)


async def asks_for_the_contract(dsn: str) -> None:
    async with Client(dsn) as client:
        await client.require_contract()


async def migrates(dsn: str) -> None:
    await asyncio.to_thread(migrations.up, dsn)


WAYS: tuple[Way, ...] = (submits, submits_synchronously, asks_for_the_contract, migrates)


def assert_one_line(error: DtschedError, dsn: str) -> None:
    text = str(error)
    assert dsn not in text
    assert SECRET not in text
    assert "\n" not in text
    assert len(text) < 400


def name_of(way: Way) -> str:
    return getattr(way, "__name__", "")


@pytest.fixture
def closed_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return listening.getsockname()[1]


@pytest.mark.parametrize("way", WAYS, ids=name_of)
async def test_a_server_that_does_not_run(way: Way, closed_port: int) -> None:
    dsn = f"postgresql://me:{SECRET}@127.0.0.1:{closed_port}/jobs"
    with pytest.raises(
        DatabaseUnreachable, match="the database cannot be reached: start it, or check DTSCHED_DSN"
    ) as error:
        await way(dsn)
    assert_one_line(error.value, dsn)


async def test_a_wrong_password_or_user(cluster: Cluster) -> None:
    for wrong in ({"password": SECRET}, {"user": "nobody", "password": SECRET}):
        dsn = make_conninfo(cluster.dsn, **wrong)
        for way in WAYS:
            with pytest.raises(DatabaseUnreachable, match="the database refused the user or password") as error:
                await way(dsn)
            assert_one_line(error.value, dsn)


@pytest.mark.parametrize("way", WAYS, ids=name_of)
async def test_a_database_that_the_server_does_not_have(way: Way, server: str) -> None:
    dsn = make_conninfo(server, dbname="nosuch")
    with pytest.raises(
        DatabaseUnreachable, match="there is no database of that name on the server: create it"
    ) as error:
        await way(dsn)
    assert_one_line(error.value, dsn)


@pytest.mark.parametrize("way", WAYS, ids=name_of)
@pytest.mark.parametrize(
    "dsn",
    [
        f"postgres//me:{SECRET}@127.0.0.1/jobs",
        f"host=127.0.0.1 passwrd={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1/jobs?sslmoad=require",
        f"host=127.0.0.1 password='{SECRET}",
        SECRET,
    ],
)
async def test_a_dsn_that_cannot_be_read_is_not_shown(way: Way, dsn: str) -> None:
    with pytest.raises(InvalidInput, match=r"the DSN \(DTSCHED_DSN or --dsn\) cannot be read") as error:
        await way(dsn)
    assert error.value.field == "dsn"
    assert_one_line(error.value, dsn)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("way", [submits, submits_synchronously, migrates], ids=name_of)
async def test_what_follows_an_at_sign_in_a_password_is_not_shown_as_a_host(way: Way, closed_port: int) -> None:
    dsn = f"postgresql://me:half@{SECRET}@127.0.0.1:{closed_port}/jobs"
    with pytest.raises(DatabaseUnreachable) as error:
        await way(dsn)
    assert_one_line(error.value, dsn)


@pytest.mark.parametrize("way", [submits, submits_synchronously, asks_for_the_contract], ids=name_of)
async def test_a_database_that_was_never_migrated(way: Way, empty_database: str) -> None:
    with pytest.raises(SchemaMissing, match="run `dtsched migrate up`") as error:
        await way(empty_database)
    assert_one_line(error.value, empty_database)


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        (0, "missing here: run `dtsched migrate up`"),
        (migrations.CONTRACT - 1, f"this program needs {migrations.CONTRACT}: run `dtsched migrate up`"),
        (migrations.CONTRACT + 1, f"this program knows only {migrations.CONTRACT}: upgrade dtsched"),
    ],
)
async def test_a_schema_of_another_contract(contract: int, says: str, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update dtsched.installed set contract = %s", [contract])
    with pytest.raises(SchemaMissing, match=says) as error:
        await asks_for_the_contract(database)
    assert isinstance(error.value, SchemaMismatch) == (contract > 0)


async def test_a_schema_that_lacks_a_function_of_ours(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("drop function dtsched.submit_many")
    for way in (submits, submits_synchronously):
        with pytest.raises(SchemaMissing, match="missing or too old here: run `dtsched migrate up`"):
            await way(database)


@pytest.mark.parametrize(
    ("complaint", "says"),
    [
        ('FATAL:  password authentication failed for user "me"', "refused the user or password"),
        ('FATAL:  role "me" does not exist', "refused the user or password"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "me", database "jobs"', "refused the user or password"),
        ("fe_sendauth: no password supplied", "refused the user or password"),
        ('FATAL:  database "jobs" does not exist', "there is no database of that name"),
        ("connection refused\n\tIs the server running?", "cannot be reached: start it, .*: connection refused Is the"),
        ("failed to resolve host 'half@db': unknown", "cannot be reached: .*: failed to resolve host '…@db'"),
    ],
)
def test_what_a_server_complains_of_when_it_is_asked_to_let_us_in(complaint: str, says: str) -> None:
    """libpq gives no SQLSTATE for it; which of these a server says depends on how it is set up."""
    assert re.search(says, str(unreachable(psycopg.OperationalError(complaint))))


async def test_an_app_goes_on_when_its_database_is_back(cluster: Cluster) -> None:
    async with App(cluster.dsn) as app:
        task = app.task(echo)
        before = await task.submit(1)
        cluster.kill()
        with pytest.raises((DatabaseUnreachable, psycopg.OperationalError)):  # the latter: it went while it was asked
            await task.submit(2)
        with pytest.raises(DatabaseUnreachable) as error:
            await task.submit(2)
        assert_one_line(error.value, cluster.dsn)
        cluster.start()
        after = await task.submit(3)
        assert (await before.state(), await after.state()) == ("ready", "ready")

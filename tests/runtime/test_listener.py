"""The LISTEN connection survives whatever arrives on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import sql

from dtsched.listener import Listener
from tests.runtime.workers import until
from tests.support.servers import Databases

NAME = "dtsched_test_ascii"
PATIENCE_SECONDS = 5
TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dtsched listener'"
BAD = b"select pg_notify('dtsched_wake', E'\\xff\\xfe')"


@asynccontextmanager
async def listening(dsn: str, receive: Callable[[str], None]) -> AsyncGenerator[Listener]:
    listener = Listener(dsn, {"dtsched_wake": receive})
    run = asyncio.create_task(listener.run())
    try:
        await until(lambda: listener.connected)
        yield listener
        assert not run.done()
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


@pytest.fixture
def ascii_database(server: str, databases: Databases) -> Generator[str]:
    """One that takes any bytes for text."""
    name = sql.Identifier(NAME)
    with contextlib.closing(psycopg.connect(server, autocommit=True)) as connection:
        connection.execute(
            sql.SQL("create database {} encoding 'SQL_ASCII' locale 'C' template template0").format(name)
        )
        yield databases.dsn(NAME)
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


async def test_a_notification_in_no_encoding_changes_nothing(ascii_database: str) -> None:
    got: list[str] = []
    with contextlib.closing(psycopg.connect(ascii_database, autocommit=True)) as sender:
        sender.execute("create schema dtsched")
        sender.execute("create function dtsched.hungry(text[]) returns bigint return (select 1 from pg_sleep(0.2))")
        async with listening(ascii_database, got.append) as listener:
            sender.execute(BAD)
            await until(lambda: len(got) == 1)
            answer = asyncio.create_task(listener.hungry(["default"]))
            await asyncio.sleep(0.1)
            sender.execute(BAD)  # now it comes with the answer to a statement, and through the driver
            assert await answer == 1
            sender.execute("select pg_notify('dtsched_wake', 'default')")
            await until(lambda: "default" in got)
            assert listener.generation == 1


async def test_an_unforeseen_error_costs_a_reconnection_and_not_the_listener(database: str) -> None:
    got: list[str] = []

    def receive(payload: str) -> None:
        if payload == "bad":
            raise RuntimeError("not foreseen")
        got.append(payload)

    with contextlib.closing(psycopg.connect(database, autocommit=True)) as sender:
        async with listening(database, receive) as listener:
            sender.execute("select pg_notify('dtsched_wake', 'bad')")
            await until(lambda: listener.generation == 2 and listener.connected)
            sender.execute("select pg_notify('dtsched_wake', 'good')")
            await until(lambda: got == ["good"])


async def test_a_lost_socket_is_forgotten_before_another_has_its_number(database: str) -> None:
    """libpq closes it while it is read from. What is opened next may have its number, and is not to go unheard."""
    before = sockets()
    with contextlib.closing(psycopg.connect(database, autocommit=True)) as killer:
        before |= sockets()
        async with listening(database, lambda _: None) as listener:
            (number,) = sockets() - before
            killer.execute(TERMINATE)
            while is_open(number):  # noqa: ASYNC110 - each round of the event loop, lest the number be another's first
                await asyncio.sleep(0)
            following, other_end = socket.socketpair()
            with following, other_end:
                assert following.fileno() == number
                reader, writer = await asyncio.open_connection(sock=following)
                await until(lambda: listener.generation == 2 and listener.connected)
                other_end.send(b"heard")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert await reader.readexactly(5) == b"heard"
                writer.close()


def sockets() -> set[int]:
    return {number for number in range(256) if is_open(number) and stat.S_ISSOCK(os.fstat(number).st_mode)}


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

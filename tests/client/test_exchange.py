"""Waiting for an answer: large ones, both ways, beside others, cancelled, and of a server that goes away."""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from socket import socketpair

import psycopg
import pytest

from dtsched.connections import Connection, shut_down
from dtsched.connections import connect as open_connection
from tests.conftest import Connect
from tests.runtime.workers import one, until
from tests.support.patience import PATIENCE_SECONDS

MANY = 200_000
LARGE = 5_000_000
ASLEEP = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"


async def ask(connection: Connection, query: str, *parameters: object) -> list[tuple[object, ...]]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await (await connection.execute(query.encode(), parameters)).fetchall()


async def test_a_large_answer_comes_whole_and_others_have_their_turn(database: str) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with await open_connection(database, role="test") as connection:
        other = asyncio.create_task(take_turns())
        rows = await ask(connection, "select n, repeat('x', 100) from generate_series(1, %s) n", MANY)
        other.cancel()
    assert [row[0] for row in rows] == list(range(1, MANY + 1))
    assert turns > 20


async def test_a_large_question_is_sent_whole_while_the_server_talks(database: str) -> None:
    talk = "do $$ begin for n in 1..20000 loop raise notice '%', repeat('x', 500); end loop; end $$"
    async with await open_connection(database, role="test") as connection, connection.pipeline():
        await connection.execute(talk)  # what it says is more than the buffers between take
        asked = await connection.execute("select length(%s), length(%s)", ("y" * LARGE, "z" * LARGE))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asked.fetchone() == (LARGE, LARGE)


async def test_what_the_server_refuses_is_raised_and_the_connection_goes_on(database: str) -> None:
    async with await open_connection(database, role="test") as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await ask(connection, "select 1 / (n - 1000) from generate_series(1, 2000) n")
        assert await ask(connection, "select 1") == [(1,)]


async def test_cancelling_a_task_ends_its_statement_in_the_server_too(database: str, connect: Connect) -> None:
    beside = connect()
    async with await open_connection(database, role="test") as connection:
        sleeping = asyncio.create_task(ask(connection, "select pg_sleep(%s)", 2 * PATIENCE_SECONDS))
        await until(lambda: one(beside, ASLEEP) == 1)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert one(beside, ASLEEP) == 0
        assert await ask(connection, "select 1") == [(1,)]


@pytest.mark.parametrize("divisor", [1, 0])
async def test_a_task_cancelled_in_the_very_round_that_brings_its_answer_loses_nothing(
    database: str, divisor: int, caplog: pytest.LogCaptureFixture
) -> None:
    for rounds in range(10):
        async with await open_connection(database, role="test") as connection:
            answered = select.poll()
            answered.register(connection.fileno(), select.POLLIN)
            asking = asyncio.create_task(ask(connection, "select 1 / %s", divisor))
            late = 0
            while late <= rounds // 2:
                late += bool(answered.poll(0)) or late > 0
                await asyncio.sleep(0)
            asking.cancel()
            with suppress(asyncio.CancelledError, psycopg.errors.DivisionByZero):
                assert await asking == [(1,)]
            if not connection.closed:  # as psycopg does when an error comes in place of the cancellation's
                assert await ask(connection, "select 1") == [(1,)]
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_server_that_ends_the_session_is_an_outage(database: str, connect: Connect) -> None:
    beside = connect()
    async with await open_connection(database, role="test") as connection:
        sleeping = asyncio.create_task(ask(connection, "select pg_sleep(%s)", 2 * PATIENCE_SECONDS))
        await until(lambda: one(beside, ASLEEP) == 1)
        beside.execute("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")
        with pytest.raises(psycopg.OperationalError):
            await sleeping
        assert connection.closed


async def test_a_connection_that_is_lost_while_a_large_question_is_being_sent_is_an_outage(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    beside = connect()
    connection = await open_connection(database, role="test")
    full = select.poll()
    full.register(connection.fileno(), select.POLLOUT)

    async def question() -> None:
        async with connection.pipeline():
            await connection.execute("select pg_sleep(%s)", (2 * PATIENCE_SECONDS,))
            asked = await connection.execute("select length(%s)", ("y" * LARGE,))
            await asked.fetchone()

    asking = asyncio.create_task(question())
    await until(lambda: one(beside, ASLEEP) == 1 and not full.poll(0))  # it reads nothing while it sleeps
    shut_down(connection)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(psycopg.OperationalError):
            await asking
    await connection.close()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_who_waits_on_a_connection_that_is_closed_meets_an_outage_and_the_next_one_works(
    database: str, connect: Connect
) -> None:
    beside = connect()
    connection = await open_connection(database, role="test")
    sleeping = asyncio.create_task(ask(connection, "select pg_sleep(%s)", 2 * PATIENCE_SECONDS))
    await until(lambda: one(beside, ASLEEP) == 1)
    socket = connection.fileno()
    await connection.close()
    async with await open_connection(database, role="test") as following:
        assert following.fileno() == socket  # which the event loop must have forgotten
        assert await ask(following, "select 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="closed"):
        await sleeping


async def asleep(connection: Connection, connect: Connect) -> asyncio.Task[object]:
    sleeping = asyncio.create_task(ask(connection, "select pg_sleep(%s)", 2 * PATIENCE_SECONDS))
    beside = connect()
    await until(lambda: one(beside, ASLEEP) == 1)
    return sleeping


async def lose(connection: Connection) -> None:
    """Returns in the very round in which the loss is met, before whoever waits has been woken."""
    shut_down(connection)
    while not connection.closed:  # noqa: ASYNC110 - nothing tells of it earlier
        await asyncio.sleep(0)


@pytest.mark.parametrize("closed_first", [True, False])
async def test_a_task_cancelled_while_its_connection_is_closed_is_cancelled(
    database: str, connect: Connect, closed_first: bool
) -> None:
    connection = await open_connection(database, role="test")
    sleeping = await asleep(connection, connect)
    if closed_first:
        await connection.close()
    sleeping.cancel()
    await connection.close()
    with pytest.raises(asyncio.CancelledError):
        await sleeping


async def test_a_task_cancelled_in_the_very_round_that_loses_its_connection_is_cancelled(
    database: str, connect: Connect
) -> None:
    async with await open_connection(database, role="test") as connection:
        sleeping = await asleep(connection, connect)
        await lose(connection)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping


async def test_a_lost_socket_is_forgotten_before_another_has_its_number(database: str, connect: Connect) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    async with await open_connection(database, role="test") as connection:
        number = connection.fileno()
        sleeping = await asleep(connection, connect)
        await lose(connection)
        following, other_end = socketpair()
        with following, other_end:
            assert following.fileno() == number
            loop.add_reader(following, told.set)
            with pytest.raises(psycopg.OperationalError):
                await sleeping
            other_end.send(b"x")
            async with asyncio.timeout(PATIENCE_SECONDS):
                await told.wait()
            loop.remove_reader(following)

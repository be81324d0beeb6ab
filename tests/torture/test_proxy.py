"""The proxy between the processes of a run and their database, on real connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import LiteralString

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched.embedded import Cluster
from dtsched.torture import links
from dtsched.torture.links import Link, Whom, concerned
from dtsched.torture.pgwire import Conversation, opening
from dtsched.torture.wire import FINISHES, SUBMITS, ProxyWire, open_wire
from tests.runtime.workers import until

Connect = Callable[[], psycopg.Connection]
Connection = psycopg.AsyncConnection


@pytest.fixture
async def wire(database: str) -> AsyncGenerator[ProxyWire]:
    async with open_wire(database) as wire:
        yield wire


Open = Callable[..., Awaitable[Connection]]


@pytest.fixture
async def connected(wire: ProxyWire) -> AsyncGenerator[Open]:
    """Connections through the proxy by role, in autocommit; ended with the test."""
    opened: list[Connection] = []

    async def connected(role: str = "test") -> Connection:
        dsn = make_conninfo(wire.dsn, application_name=f"dtsched {role}", connect_timeout=2)
        opened.append(await psycopg.AsyncConnection.connect(dsn, autocommit=True))
        return opened[-1]

    yield connected
    for connection in opened:
        connection.pgconn.finish()


async def answers(connection: Connection, *, within: float = 2.0) -> bool:
    """False: nothing came. An end raises."""
    asked = asyncio.create_task(connection.execute("select 1"))
    done, _ = await asyncio.wait([asked], timeout=within)
    if not done:
        asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        return False
    await asked
    return True


async def test_what_nobody_disturbs_passes_as_it_was(wire: ProxyWire, connected: Open) -> None:
    connection = await connected()
    text = "x" * 3_000_000
    cursor = await connection.execute("select %s || 'y', %s::int", (text, 7))
    assert await cursor.fetchone() == (text + "y", 7)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.execute("select 1 / 0")
    async with connection.cursor().copy("copy (select generate_series(1, 1000)) to stdout") as copy:
        assert len([row async for row in copy.rows()]) == 1000
    assert (await wire.figures())["open"] == {"dtsched test": 1}
    await connection.close()


async def test_a_client_that_asks_for_encryption_goes_on_without(wire: ProxyWire) -> None:
    dsn = make_conninfo(wire.dsn, sslmode="prefer", gssencmode="prefer")
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        assert await answers(connection)


async def test_a_statement_is_cancelled_through_it(wire: ProxyWire, connected: Open) -> None:
    connection = await connected()
    asleep = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    await asyncio.sleep(0.2)
    await connection.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await asyncio.wait_for(asleep, 5)
    await connection.close()


async def test_silence_ends_nothing_and_what_was_said_meanwhile_passes_when_it_is_over(
    wire: ProxyWire, connected: Open
) -> None:
    claimer, renewer = await connected("claimer"), await connected("renewer")
    assert await wire.silence("claimer") == 1
    assert await answers(renewer)
    asked = asyncio.create_task(claimer.execute("select 1"))
    await asyncio.sleep(0.3)
    assert not asked.done()
    assert await answers(await connected("claimer"))  # a new one
    assert await wire.heal() == {"silenced": 1}
    await asyncio.wait_for(asked, 2)
    assert await wire.heal() == {}


async def test_new_connections_can_be_silent_too(wire: ProxyWire, connected: Open) -> None:
    await wire.silence("claimer", new_ones_too=True)
    with pytest.raises(psycopg.OperationalError):
        await connected("claimer")
    assert await answers(await connected("renewer"))
    await wire.heal()
    assert await answers(await connected("claimer"))


async def test_one_process_alone_can_be_silenced(wire: ProxyWire, connected: Open) -> None:
    here = await connected()
    await wire.silence(pid=wire.pid)  # it connects to the server only, and not to itself
    assert await answers(here)
    assert await wire.silence(pid=psutil.Process().pid) == 1
    assert not await answers(here, within=0.3)


async def test_one_way_only_the_server_does_what_it_is_told_and_nobody_hears_of_it(
    wire: ProxyWire, connected: Open, connect: Connect
) -> None:
    observer = connect()
    observer.execute("create table told (way text)")
    connection = await connected()
    await wire.silence(direction="answered")
    answered = asyncio.create_task(connection.execute("insert into told values ('answered')"))
    await until(lambda: observer.execute("select way from told").fetchall() == [("answered",)])
    assert not answered.done()
    await wire.heal()
    await asyncio.wait_for(answered, 2)
    await wire.silence(direction="asked")
    asked = asyncio.create_task(connection.execute("insert into told values ('asked')"))
    await asyncio.sleep(0.3)
    assert observer.execute("select way from told").fetchall() == [("answered",)]
    await wire.heal()
    await asyncio.wait_for(asked, 2)


async def test_refused_are_new_connections_alone(wire: ProxyWire, connected: Open) -> None:
    old = await connected()
    await wire.refuse()
    with pytest.raises(psycopg.OperationalError):
        await connected()
    assert await answers(old)
    assert (await wire.heal())["refused"] >= 1
    assert await answers(await connected())


async def test_a_cut_is_a_reset(wire: ProxyWire, connected: Open, connect: Connect) -> None:
    claimer, renewer = await connected("claimer"), await connected("renewer")
    assert await wire.cut("claimer") == 1
    with pytest.raises(psycopg.OperationalError):
        await claimer.execute("select 1")
    assert await answers(renewer)
    left = "select count(*) from pg_stat_activity where application_name = 'dtsched claimer'"
    await until(lambda: connect().execute(left).fetchone() == (0,))
    assert await wire.heal() == {"cut": 1}


async def test_what_passes_slowly_passes_whole(wire: ProxyWire, connected: Open) -> None:
    connection = await connected()
    await wire.slow(0.1)
    began = time.monotonic()
    assert await answers(connection)
    assert time.monotonic() - began >= 0.2  # there and back
    await wire.slow(0.0, piece_bytes=1)
    cursor = await connection.execute("select %s::text", ("in pieces " * 100,))
    assert await cursor.fetchone() == ("in pieces " * 100,)
    await wire.slow(0.0, bytes_per_second=100_000)
    began = time.monotonic()
    await connection.execute("select repeat('x', 30000)")
    assert time.monotonic() - began >= 0.3
    await wire.slow(30.0)
    asked = asyncio.create_task(connection.execute("select 1"))
    await asyncio.sleep(0.1)
    await wire.heal()
    await asyncio.wait_for(asked, 2)


async def lose_answer(connection: Connection, statement: LiteralString, *, prepare: bool = False) -> None:
    with pytest.raises(psycopg.OperationalError):
        await connection.execute(statement, prepare=prepare)
    assert connection.closed


async def in_pipeline_lost(connection: Connection, *statements: LiteralString) -> None:
    try:
        async with connection.pipeline():
            for statement in statements:
                await connection.execute(statement)
    except psycopg.OperationalError:
        return
    pytest.fail("the answer came")


async def test_a_commit_is_done_and_its_answer_lost(wire: ProxyWire, connected: Open, connect: Connect) -> None:
    observer = connect()
    observer.execute("create table kept (number int primary key)")
    await wire.cut_on_commit(1.0)
    plain = await connected()
    assert await answers(plain)  # it changes nothing
    with pytest.raises(psycopg.errors.DivisionByZero):
        await plain.execute("insert into kept values (1 / 0)")
    await lose_answer(plain, "insert into kept values (1)")
    block = await connected()
    await block.execute("begin")
    await block.execute("insert into kept values (2)")
    await block.execute("rollback")
    await block.execute("begin")
    await block.execute("insert into kept values (3)")
    await lose_answer(block, "commit")
    await lose_answer(await connected(), "insert into kept select 4; select 5")
    assert observer.execute("select number from kept order by 1").fetchall() == [(1,), (3,), (4,)]
    assert await wire.heal() == {"commits": 3, "commits_cut": 3, "cut": 3}


async def test_a_function_that_writes_is_a_commit_if_it_is_named(
    wire: ProxyWire, connected: Open, connect: Connect
) -> None:
    submit: LiteralString = "select dtsched.submit('note', '{}'::jsonb)"
    await wire.cut_on_commit(1.0, "submitter", calls=SUBMITS)
    other, submitter = await connected("claimer"), await connected("submitter")
    await other.execute(submit)
    await submitter.execute("select dtsched.version()")
    await lose_answer(submitter, submit)
    pipelined = await connected("submitter")
    await in_pipeline_lost(pipelined, submit, "select 1")
    prepared = await connected("submitter")
    await wire.cut_on_commit(0.0, "submitter", calls=SUBMITS)
    for _ in range(3):
        await prepared.execute(submit, prepare=True)
    await wire.cut_on_commit(1.0, "submitter", calls=SUBMITS - {"submit"})
    await prepared.execute(submit, prepare=True)
    await wire.cut_on_commit(1.0, "submitter", calls=SUBMITS)
    await lose_answer(prepared, submit, prepare=True)
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (8,)
    assert SUBMITS.isdisjoint(FINISHES)


async def test_flapping_comes_and_goes_until_it_is_healed(wire: ProxyWire, connected: Open) -> None:
    await wire.flap(0.2, 0.2)
    worked, failed = 0, 0
    deadline = time.monotonic() + 10
    while (worked < 3 or failed < 3) and time.monotonic() < deadline:
        try:
            async with await connected() as connection:
                worked += await answers(connection)
        except psycopg.OperationalError:
            failed += 1
        await asyncio.sleep(0.02)
    assert worked >= 3
    assert failed >= 3
    assert (await wire.heal())["flaps"] >= 1
    await asyncio.sleep(0.3)
    assert await answers(await connected())


async def test_healing_what_one_fault_has_done_leaves_what_another_one_does(wire: ProxyWire, connected: Open) -> None:
    connection = await connected()
    await wire.silence(by="one")
    await wire.silence(by="other", direction="answered")
    await wire.slow(0.2, by="one")
    await wire.slow(0.1, by="other")
    await wire.refuse(by="one")
    assert await wire.heal(by="one") == {"silenced": 1}
    asked = asyncio.create_task(connection.execute("select 1"))
    await asyncio.sleep(0.2)
    assert not asked.done()
    assert await wire.heal(by="nobody") == {}
    assert await wire.heal(by="other") == {"silenced": 1}
    await asyncio.wait_for(asked, 2)
    assert await answers(await connected())


async def test_new_connections_lead_elsewhere_when_told(
    wire: ProxyWire, connected: Open, empty_cluster: Cluster
) -> None:
    old = await connected()
    await wire.to(empty_cluster.dsn)
    with pytest.raises(psycopg.OperationalError):  # the name and the password are of the other one
        await connected()
    assert await answers(old)


async def test_a_proxy_whose_runner_is_gone_ends(database: str) -> None:
    async with open_wire(database) as wire:
        pid = wire.pid
        connection = await psycopg.AsyncConnection.connect(wire.dsn)
    assert not psutil.pid_exists(pid)
    async with connection:
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("select 1")


async def test_what_cannot_be_done_is_told(wire: ProxyWire) -> None:
    with pytest.raises(RuntimeError, match="unexpected keyword"):
        await wire._tell("cut", nonsense=1)  # pyright: ignore[reportPrivateUsage]
    assert await wire.cut() == 0


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (4 + len(body)).to_bytes(4, "big") + body


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 1000])
def test_a_commit_is_found_wherever_the_stream_is_cut(piece: int) -> None:
    asked = message(b"P", b"one\0select 1 from dtsched.work(%s)\0\0\0") + message(b"B", b"\0one\0" + b"S" * 9000)
    asked += message(b"E", b"\0" * 5) + message(b"S")
    answered = message(b"1") + message(b"2") + message(b"D", b"Z\0\0\0\5I" * 1000)
    answered += message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
    talk, found = Conversation(), list[set[str]]()
    for at in range(0, len(asked), piece):
        talk.asked(asked[at : at + piece])
    for at in range(0, len(answered), piece):
        found += talk.answered(answered[at : at + piece])
    assert found == [{"work"}]


def test_how_a_connection_begins() -> None:
    startup = (8 + 33).to_bytes(4, "big") + (196608).to_bytes(4, "big") + b"application_name\0dtsched claimer\0\0"[:33]
    assert opening(startup[:-1]) is None
    assert opening(startup) == ("startup", 41, "dtsched claimer")
    assert opening((16).to_bytes(4, "big") + (80877102).to_bytes(4, "big") + b"\0" * 8) == ("cancel", 16, "")
    assert opening((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")) == ("encryption", 8, "")
    with pytest.raises(ValueError, match="protocol"):
        opening(b"GET / HTTP/1.1\r\n")


def test_whose_connections_are_is_asked_once_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with thousands of connections an answer takes tens of milliseconds, in which nothing passes."""
    asked: list[int] = []

    def ports(pid: int) -> set[int]:
        asked.append(pid)
        return {7, 8}

    monkeypatch.setattr(links, "_ports", ports)
    opened = [Link(port) for port in range(100)]
    for link in opened:
        link.begin("dtsched claimer" if link is opened[7] else "dtsched listener")

    assert concerned(opened, Whom("", 1)) == [opened[7], opened[8]]
    assert concerned(opened, Whom("claimer", 1)) == [opened[7]]
    assert concerned(opened, Whom("claimer", None)) == [opened[7]]
    assert asked == [1]

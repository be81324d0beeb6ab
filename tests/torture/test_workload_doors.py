"""What a submitter says of a submission is true: not written is only what cannot have been, and what it does not know
it does not claim to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched.jobs import NewJob
from dtsched.torture.app import app
from dtsched.torture.digests import digest
from dtsched.torture.doors import Doors
from dtsched.torture.fates import Fate, NotWritten, Unknown, Written
from dtsched.torture.hostile import Case
from dtsched.torture.outbox import LAY
from dtsched.torture.workload import HOSTILE, Item, Submission, Way
from tests.faults.proxy import Proxy, proxy_before
from tests.runtime.workers import one, until
from tests.support.rest import serving

Connect = Callable[[], psycopg.Connection]

SINGLE: tuple[Way, ...] = ("client", "insert", "function", "rest", "outbox")
BATCHES: tuple[Way, ...] = ("client_batch", "rest_batch", "rest_stream")
DIRECT: tuple[Way, ...] = ("client", "insert", "function", "outbox")

WAITING: LiteralString = """
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched torture submitter' and wait_event_type = 'Lock'
"""
END: Mapping[str, LiteralString] = {
    "terminate": f"select pg_terminate_backend(pid) from ({WAITING}) waiting",
    "cancel": f"select pg_cancel_backend(pid) from ({WAITING}) waiting",
}


def job_of(**fields: Any) -> NewJob:
    given: dict[str, Any] = {"task": "work", **fields}
    return NewJob(**given)


def submission(way: Way, *names: str, **fields: Any) -> Submission:
    items = tuple(
        Item(key=name, job=job_of(args={"name": name, "payload": None}, **fields), expect=("completed",))
        for name in names or ("plain-a.0-1",)
    )
    return Submission(kind="plain", way=way, items=items)


@asynccontextmanager
async def doors_of(dsn: str, *urls: str, answer_seconds: float = 30.0) -> AsyncGenerator[Doors]:
    doors = Doors(dsn, urls, answer_seconds=answer_seconds)
    await doors.open()
    try:
        yield doors
    finally:
        await doors.close()


@pytest.fixture
def prepared(database: str, connect: Connect) -> str:
    """A database that knows the tasks and has the user's tables."""
    connection = connect()
    connection.execute("insert into dtsched.tasks (name) select unnest(%s::text[])", [list(app.registry)])
    connection.execute(LAY)
    return database


def named(connection: psycopg.Connection) -> dict[str, int]:
    return dict(connection.execute("select args ->> 'name', count(*) from dtsched.jobs group by 1").fetchall())


async def test_each_door_says_which_job_it_has_made_and_makes_no_other_when_it_is_told_again(
    prepared: str, connect: Connect
) -> None:
    connection = connect()
    with serving(prepared) as url:
        async with doors_of(prepared, url) as doors:
            for way in (*SINGLE, *BATCHES):
                names = [f"plain-{way}-{number}" for number in range(3 if way in BATCHES else 1)]
                wanted = kept(submission(way, *names))
                fates = await doors.submit(wanted)
                for name, fate in zip(names, fates, strict=True):
                    assert isinstance(fate, Written), way
                    found = connection.execute("select args ->> 'name' from dtsched.jobs where id = %s", [fate.job])
                    assert found.fetchall() == [(name,)]
                if wanted.repeatable:
                    again = await doors.submit(wanted)
                    assert [fate[0] for fate in again] == [fate[0] for fate in fates], way
    assert set(named(connection).values()) == {1}
    assert connection.execute("select key from torture.outbox").fetchall() == [("plain-outbox-0",)]


def kept(wanted: Submission) -> Submission:
    """As workload.py sends what is to be sent twice, but over REST, where the request itself has a key."""
    if wanted.way in ("rest", "rest_batch", "insert", "outbox"):
        return wanted
    jobs = {item.key: job_of(args=item.job.args, key=item.key, key_for="kept") for item in wanted.items}
    items = tuple(Item(key=key, job=job, expect=("completed",)) for key, job in jobs.items())
    return Submission(kind="plain", way=wanted.way, items=items)


async def test_what_is_hostile_is_accepted_or_refused_as_it_must_be_by_every_door(
    prepared: str, connect: Connect
) -> None:
    connection = connect()
    wrong: list[object] = []
    with serving(prepared) as url:
        async with doors_of(prepared, url) as doors:
            for case in HOSTILE:
                for way in case.ways:
                    key = name_of(case, way)
                    payload = case.payload() if case.payload is not None else None
                    job = job_of(args={"name": key, "payload": payload}, **case.fields)
                    item = Item(key=key, job=job, expect=case.expect, must=case.must, case=case.name)
                    (fate,) = await doors.submit(Submission(kind="hostile", way=cast("Way", way), items=(item,)))
                    if isinstance(fate, Written) != (case.must == "accept") or isinstance(fate, Unknown):
                        wrong.append((case.name, way, fate))
                    if isinstance(fate, Written):
                        stored = one(connection, "select args from dtsched.jobs where id = %s", fate.job)
                        if digest(stored) != item.digest:
                            wrong.append((case.name, way, "stored as another value"))
    assert wrong == []
    refused = {name_of(case, way) for case in HOSTILE if case.must == "refuse" for way in case.ways}
    assert not refused & set(named(connection))


def name_of(case: Case, way: str) -> str:
    return f"hostile-{case.name}-{way}".replace(" ", "_")


async def test_what_never_left_was_not_written() -> None:
    nobody = "postgresql://postgres@127.0.0.1:1/postgres"
    async with doors_of(nobody, "http://127.0.0.1:1") as doors:
        for way in (*SINGLE, *BATCHES):
            (fate,) = await doors.submit(submission(way))
            assert isinstance(fate, NotWritten), way


@pytest.mark.parametrize(("how", "told"), [("terminate", Unknown), ("cancel", NotWritten)])
async def test_of_a_backend_ended_in_mid_submit_nothing_is_known_and_of_a_cancelled_one_all(
    prepared: str, connect: Connect, how: str, told: type[Fate]
) -> None:
    """But of a transaction whose COMMIT was not sent."""
    holder, other = connect(), connect()
    holder.execute("begin")
    holder.execute("insert into dtsched.jobs (task, args, key) values ('work', '{}', 'held')")
    async with doors_of(prepared) as doors:
        for way in DIRECT:
            submitting = asyncio.create_task(doors.submit(submission(way, key="held")))
            await until(lambda: other.execute(WAITING).fetchall() != [])
            other.execute(END[how])
            (fate,) = await submitting
            assert isinstance(fate, NotWritten if way == "outbox" else told), way
    holder.execute("rollback")
    assert named(other) == {}
    assert other.execute("select * from torture.outbox").fetchall() == []


@pytest.mark.parametrize(("way", "word"), [("client", b"SELECT 1"), ("insert", b"INSERT 0 1"), ("outbox", b"COMMIT")])
async def test_f42_a_commit_whose_answer_is_lost_is_unknown_and_done(
    prepared: str, connect: Connect, way: Way, word: bytes
) -> None:
    connection = connect()
    async with proxy_before(prepared) as proxy, doors_of(proxy.dsn) as doors:
        await doors.submit(submission(way, "plain-a.0-0"))  # a connection is open
        lost = await losing_the_answer(connection, proxy, word, doors, submission(way))
    assert isinstance(lost, Unknown)
    assert named(connection) == {"plain-a.0-0": 1, "plain-a.0-1": 1}
    assert one(connection, "select count(*) from torture.outbox") == (2 if way == "outbox" else 0)


async def test_a_transaction_that_loses_its_connection_before_its_commit_was_not_written(
    prepared: str, connect: Connect
) -> None:
    connection = connect()
    async with proxy_before(prepared) as proxy, doors_of(proxy.dsn) as doors:
        await doors.submit(submission("outbox", "outbox-a.0-0"))
        wanted = submission("outbox", "outbox-a.0-1")
        lost = await losing_the_answer(connection, proxy, b"INSERT 0 1", doors, wanted)
    assert isinstance(lost, NotWritten)
    assert named(connection) == {"outbox-a.0-0": 1}


async def losing_the_answer(
    connection: psycopg.Connection, proxy: Proxy, word: bytes, doors: Doors, wanted: Submission
) -> Fate:
    """And its connection, once the answer has come as far as the proxy."""
    proxy.hold(word)
    submitting = asyncio.create_task(doors.submit(wanted))
    await proxy.held.wait()
    proxy.silence()
    proxy.let_go()
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and application_name = 'dtsched torture submitter'"
    )
    (fate,) = await submitting
    return fate


@pytest.mark.parametrize("way", ["client", "insert"])
async def test_f41_what_is_not_answered_in_time_is_unknown(prepared: str, way: Way) -> None:
    async with proxy_before(prepared) as proxy, doors_of(proxy.dsn, answer_seconds=0.5) as doors:
        opened: Fate = Unknown("not yet")
        while not isinstance(opened, Written):
            (opened,) = await doors.submit(submission(way, "plain-a.0-0"))
        proxy.silence()
        (fate,) = await doors.submit(submission(way))
    assert isinstance(fate, Unknown)


async def test_a_commit_that_is_refused_was_not_written(prepared: str, connect: Connect) -> None:
    """By a deferred constraint of the user's own."""
    connection = connect()
    connection.execute("create table torture.parent (key text primary key)")
    connection.execute(
        "alter table torture.outbox add foreign key (key) references torture.parent deferrable initially deferred"
    )
    async with doors_of(prepared) as doors:
        (fate,) = await doors.submit(submission("outbox"))
    assert isinstance(fate, NotWritten)
    assert "ForeignKeyViolation" in fate.reason
    assert named(connection) == {}


async def test_an_api_that_is_gone_is_left_for_another_one_which_without_a_database_says_nothing(prepared: str) -> None:
    away = make_conninfo(prepared, port=1, host="127.0.0.1")
    with serving(away) as url:
        async with doors_of(prepared, "http://127.0.0.1:1", url) as doors:
            (gone,) = await doors.submit(submission("rest"))
            (away_from_it,) = await doors.submit(submission("rest"))
    assert isinstance(gone, NotWritten)
    assert isinstance(away_from_it, Unknown)
    assert away_from_it.reason.startswith("503")

"""Which request, job and attempt a log line belongs to, and what jobs inherit from what submits them."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
from collections.abc import Generator
from typing import Any

import pytest

from dtsched import App, Context, InvalidInput, correlated
from dtsched.correlation import fields
from dtsched.logs import FIELDS, CorrelationFilter, JsonFormatter
from dtsched.runtime.attempt import Attempt
from tests.conftest import Connect
from tests.runtime.workers import one, running_worker, submit, until, until_ended


class Lines:
    """What a handler of the root logger, set up as programs do, has written."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.addFilter(CorrelationFilter())
        self.handler.setFormatter(JsonFormatter())

    def of(self, logger: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["logger"] == logger]


@pytest.fixture
def lines() -> Generator[Lines]:
    lines, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(lines.handler)
    root.setLevel("DEBUG")
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(lines.handler)


async def test_what_a_handler_logs_says_which_attempt_it_is_of(database: str, connect: Connect, lines: Lines) -> None:
    app = App(database)
    log = logging.getLogger("shop")

    @app.task
    async def asynchronous() -> None:
        log.info("async")
        await asyncio.create_task(in_a_task())

    async def in_a_task() -> None:
        await asyncio.sleep(0)
        log.info("task")

    @app.task
    def threaded() -> None:
        log.info("thread")

    connection = connect()
    first = submit(connection, "asynchronous", correlation_id="request-1")
    second = submit(connection, "threaded", correlation_id="request-2")
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection)
    of_first = {"correlation_id": "request-1", "job_id": first, "task": "asynchronous", "attempt": 1, "worker": "test"}
    of_second = {"correlation_id": "request-2", "job_id": second, "task": "threaded", "attempt": 1, "worker": "test"}
    found = {line["message"]: {name: line.get(name) for name in FIELDS} for line in lines.of("shop")}
    assert found == {"async": of_first, "task": of_first, "thread": of_second}
    assert fields() == {}


async def test_attempts_at_the_same_time_are_not_taken_for_each_other(
    database: str, connect: Connect, lines: Lines
) -> None:
    app = App(database)
    log = logging.getLogger("shop")
    met = asyncio.Barrier(4)

    @app.task
    async def meet(n: int) -> None:
        await met.wait()
        log.info("%d", n)

    connection = connect()
    for n in range(8):
        submit(connection, "meet", {"n": n}, correlation_id=f"id-{n}")
    async with running_worker(app, database, {"default": 4}):
        await until_ended(connection)
    assert sorted((line["message"], line["correlation_id"]) for line in lines.of("shop")) == [
        (str(n), f"id-{n}") for n in range(8)
    ]


async def test_what_outlives_its_attempt_keeps_its_fields(database: str, connect: Connect, lines: Lines) -> None:
    app = App(database)
    log = logging.getLogger("shop")
    left: list[asyncio.Task[None]] = []
    goes_on = asyncio.Event()

    async def go_on() -> None:
        await goes_on.wait()
        log.info("after")

    @app.task
    async def leave_something(n: int) -> None:
        left.append(asyncio.create_task(go_on()))

    connection = connect()
    ids = [submit(connection, "leave_something", {"n": n}) for n in range(2)]
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection)
        goes_on.set()
        await asyncio.gather(*left)
    assert [line["job_id"] for line in lines.of("shop")] == ids
    ended = [line for line in lines.of("dtsched.worker") if "ended" in line["message"]]
    assert [sorted(line.keys() & {*FIELDS}) for line in ended] == [["worker"]]


async def test_an_idle_slot_carries_no_attempt_any_more(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    async def nothing() -> None: ...

    connection = connect()
    submit(connection, "nothing")
    async with running_worker(app, database):
        await until_ended(connection)
        await until(
            lambda: gc.collect() >= 0 and not [one for one in gc.get_objects() if isinstance(one, Attempt)], seconds=5
        )


async def test_a_job_that_came_without_an_id_has_one_made_of_its_own(
    database: str, connect: Connect, lines: Lines
) -> None:
    app = App(database)
    seen: list[str] = []

    @app.task
    async def look(ctx: Context) -> None:
        seen.append(ctx.correlation_id)
        logging.getLogger("shop").info("hello")

    connection = connect()
    job_id = one(connection, "insert into dtsched.jobs (task) values ('look') returning id")
    async with running_worker(app, database):
        await until_ended(connection)
    assert seen == [f"job-{job_id}"]
    assert [line["correlation_id"] for line in lines.of("shop")] == seen
    assert one(connection, "select correlation_id from dtsched.jobs") is None


async def test_what_a_handler_submits_has_its_correlation_id(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    async def leaf() -> None: ...

    @app.task
    async def asynchronous() -> None:
        await leaf.submit()
        await leaf.submit_many([{}, {}])
        await leaf.options(correlation_id="own").submit()
        with correlated("inner"):
            await leaf.submit()

    @app.task
    def threaded() -> None:
        leaf.submit_sync()
        with app.sync_connection() as connection:
            leaf.on(connection).submit_sync()

    connection = connect()
    async with app, running_worker(app, database):
        submit(connection, "asynchronous", correlation_id="request-1")
        submit(connection, "threaded", correlation_id="request-2")
        await until_ended(connection)
    found = connection.execute(
        "select correlation_id, count(*) from dtsched.jobs where task = 'leaf' group by 1 order by 1"
    ).fetchall()
    assert found == [("inner", 1), ("own", 1), ("request-1", 3), ("request-2", 2)]


async def test_jobs_of_one_call_share_a_new_id_and_those_of_the_next_have_another(
    database: str, connect: Connect
) -> None:
    app = App(database)

    @app.task
    async def leaf() -> None: ...

    async with app:
        await leaf.submit_many([{}, {}, {}])
        await leaf.submit()
        leaf.submit_many_sync([{}, {}])
        with correlated("mine"):
            await leaf.submit()
            await app.submit("leaf")
    found = connect().execute("select correlation_id from dtsched.jobs order by id").fetchall()
    ids = [row[0] for row in found]
    assert len({*ids[0:3]}) == len({*ids[4:6]}) == 1
    assert len({ids[0], ids[3], ids[4]}) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in ids[:6])
    assert ids[6:] == ["mine", "mine"]


@pytest.mark.parametrize("correlation_id", ["", "x" * 129, "a\nb", "a\ud800", 5])
def test_an_id_that_could_not_be_stored_is_refused_at_once(correlation_id: Any) -> None:
    with pytest.raises(InvalidInput, match="correlation_id must be"), correlated(correlation_id):
        raise AssertionError("entered")
    with correlated("x" * 128):
        assert fields() == {"correlation_id": "x" * 128}
    assert fields() == {}


async def test_at_debug_each_attempt_is_seen_to_begin_and_to_end(database: str, connect: Connect, lines: Lines) -> None:
    app = App(database)

    @app.task
    async def fail() -> None:
        raise ValueError("secret")

    connection = connect()
    job_id = submit(connection, "fail", correlation_id="request-1", max_attempts=1)
    async with running_worker(app, database):
        await until_ended(connection)
    told = [(line["level"], line["message"], line["correlation_id"]) for line in lines.of("dtsched.slot")]
    assert told == [
        ("debug", f"job {job_id} (fail): attempt 1 begins", "request-1"),
        ("debug", f"job {job_id} (fail): attempt 1 ends: retry", "request-1"),
        ("warning", f"job {job_id} (fail): attempt 1 of 1 ended with ValueError, see dtsched.attempts", "request-1"),
    ]


async def test_a_handler_that_does_not_stop_is_named_with_its_fields(
    database: str, connect: Connect, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtsched.runtime.slot.GIVE_UP_SECONDS", 0.05)
    app = App(database)
    free = asyncio.Event()

    @app.task
    async def heed_nothing() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    connection = connect()
    job_id = submit(connection, "heed_nothing", correlation_id="request-1")
    async with running_worker(app, database):
        await until(lambda: one(connection, "select state from dtsched.jobs") == "running")
        connection.execute("select dtsched.cancel(array[%s::bigint])", (job_id,))
        await until(lambda: [line for line in lines.of("dtsched.slot") if line["level"] == "error"])
        free.set()
    (error,) = (line for line in lines.of("dtsched.slot") if line["level"] == "error")
    assert (error["job_id"], error["correlation_id"], error["worker"]) == (job_id, "request-1", "test")

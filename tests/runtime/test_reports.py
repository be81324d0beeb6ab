"""What handlers log and tell of their progress is with their own job by the time it has ended."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any, LiteralString, cast
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dtsched import App, Context, InvalidInput, correlated
from dtsched.runtime import reports
from dtsched.runtime.completion import Completion
from dtsched.runtime.joblogs import JobLogHandler
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings
from tests.conftest import Connect
from tests.runtime import reporting_handlers
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended, worker_process

LINES: LiteralString = "select level, logger, message from dtsched.list_logs(%s)"
log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def log_info() -> Generator[None]:
    """As `dtsched worker` has it."""
    level = logging.getLogger().level
    logging.getLogger().setLevel("INFO")
    yield
    logging.getLogger().setLevel(level)


def lines(connection: psycopg.Connection, job: int) -> list[tuple[Any, ...]]:
    return connection.execute(LINES, (job,)).fetchall()


def messages(connection: psycopg.Connection, job: int) -> list[str]:
    return [line[-1] for line in lines(connection, job)]


def progress(connection: psycopg.Connection, job: int) -> tuple[Any, Any] | None:
    found = one(connection, "select progress from dtsched.jobs where id = %s", job)
    return None if found is None else (found["percent"], found["message"])


async def test_handlers_of_all_kinds_that_log_at_the_same_time_log_on_their_own_jobs(
    database: str, connect: Connect
) -> None:
    connection = connect()
    with worker_process(database, app="tests.runtime.reporting_handlers:app", queues="default:12"):
        await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
        names = [f"{task}-{n}" for task in ("in_loop", "in_thread", "in_process") for n in range(4)]
        jobs = {name: submit(connection, name.partition("-")[0], {"name": name}) for name in names}
        await until_ended(connection)
    for name, job in jobs.items():
        expected = [("info", "shop", f"{name} {n}") for n in range(reporting_handlers.LINES)]
        assert lines(connection, job) == expected
        assert progress(connection, job) == (100, name)
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_what_odd_handlers_in_processes_tell_is_made_fit(database: str, connect: Connect) -> None:
    connection = connect()
    with worker_process(database, app="tests.runtime.reporting_handlers:app", queues="default:1"):
        await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
        odd = submit(connection, "say_odd_things")
        unkept = submit(connection, "return_what_is_not_kept")
        large = submit(connection, "return_too_much")
        crash = submit(connection, "log_and_crash", max_attempts=1)
        fork = submit(connection, "fork_and_log")
        await until_ended(connection)
    warning, long = lines(connection, odd)
    assert warning == ("warning", "odd\ufffd\ufffd", "a\ufffdb\ufffdc")
    assert long[:2] == ("info", None)
    assert len(long[2]) == 4000
    assert progress(connection, odd) == (100, "1000 of 1000")
    assert one(connection, "select result from dtsched.job(%s)", odd) == "y" * 50
    assert one(connection, "select (state, result) from dtsched.job(%s)", unkept) == ("completed", None)
    assert "at most 10 are stored" in one(connection, "select error from dtsched.job(%s)", large)
    assert messages(connection, crash) == ["last words"]
    assert messages(connection, fork) == ["from the handler"]
    assert progress(connection, fork) is None


async def test_records_carry_their_level_logger_and_traceback(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    async def speak(ctx: Context) -> None:
        log.debug("not this")
        log.info("%d of %d", 1, 2)
        logging.getLogger("shop.till").log(35, "between")
        logging.getLogger("dtsched.anything").error("the worker's own")
        ctx.log("by hand", level="critical")
        with correlated("inner"):
            log.info("inner")
            await asyncio.create_task(in_a_task())
        try:
            raise KeyError("k")
        except KeyError:
            log.exception("raised")

    async def in_a_task() -> None:
        log.info("task")

    connection = connect()
    job = submit(connection, "speak")
    async with running_worker(app, database):
        await until_ended(connection)
    *others, (level, logger, raised) = lines(connection, job)
    assert others == [
        ("info", "shop", "1 of 2"),
        ("warning", "shop.till", "between"),
        ("critical", None, "by hand"),
        ("info", "shop", "inner"),
        ("info", "shop", "task"),
    ]
    assert (level, logger) == ("error", "shop")
    assert raised.startswith("raised\nTraceback (most recent call last):\n")
    assert raised.endswith("KeyError: 'k'")
    assert not [one for one in logging.getLogger().handlers if isinstance(one, JobLogHandler)]


@pytest.mark.parametrize(("level", "kept"), [("WARNING", ["warned", "told"]), ("OFF", ["told"])])
async def test_the_level_of_what_is_kept_is_a_setting(
    database: str, connect: Connect, level: str, kept: list[str]
) -> None:
    app = App(database)

    @app.task
    async def speak(ctx: Context) -> None:
        log.info("informed")
        log.warning("warned")
        ctx.log("told")

    connection = connect()
    job = submit(connection, "speak")
    worker = Worker(app.registry, Settings(dsn=database, job_log_level=level, worker_name="test"), {"default": 1})
    run = asyncio.create_task(worker.run())
    await until_ended(connection)
    worker.stop()
    await run
    assert messages(connection, job) == kept


async def test_what_is_kept_does_not_depend_on_what_the_worker_prints(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTSCHED_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("DTSCHED_JOB_LOG_LEVEL", "DEBUG")
    connection = connect()
    with worker_process(database, app="tests.runtime.reporting_handlers:app") as process:
        await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
        jobs = [submit(connection, task, {"name": task}) for task in ("in_loop", "in_process")]
        await until_ended(connection)
        process.terminate()
        _, printed = process.communicate(timeout=30)
    assert [len(messages(connection, job)) for job in jobs] == [reporting_handlers.LINES] * 2
    assert printed == ""


def test_where_nobody_has_configured_logging_warnings_are_printed_as_ever() -> None:
    program = (
        "import logging; from dtsched.runtime.joblogs import kept_with_jobs\n"
        "with kept_with_jobs('INFO', print): logging.warning('careful'); logging.getLogger('a.b').info('not this')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "careful\n")


async def test_an_attempt_that_outlives_its_end_tells_nothing_of_the_next_one(database: str, connect: Connect) -> None:
    app = App(database)
    left: list[asyncio.Task[None]] = []
    ended = asyncio.Event()

    @app.task
    async def leave_something(ctx: Context) -> None:
        if left:
            await ended.wait()
            log.info("second")
            return
        left.append(asyncio.create_task(go_on(ctx)))
        raise ValueError

    async def go_on(ctx: Context) -> None:
        await until(lambda: one(connection, "select attempt from dtsched.jobs") == 2)
        log.info("late")
        ctx.progress(0.5)
        ended.set()

    connection = connect()
    backoff = Jsonb({"kind": "fixed", "base": 0, "jitter": 0})
    job = submit(connection, "leave_something", backoff=backoff)
    async with running_worker(app, database):
        await until_ended(connection)
        await left[0]
    assert (messages(connection, job), progress(connection, job)) == (["second"], None)


async def test_progress_is_seen_while_the_handler_runs_the_latest_and_not_each(database: str, connect: Connect) -> None:
    app = App(database)
    goes_on = asyncio.Event()

    @app.task
    async def work(ctx: Context) -> None:
        for n in range(1000):
            ctx.progress(n / 2000, f"{n} of 2000")
        await goes_on.wait()
        ctx.progress(1)

    connection = connect()
    job = submit(connection, "work")
    async with running_worker(app, database):
        await until(lambda: progress(connection, job) == (50, "999 of 2000"))
        goes_on.set()
        await until_ended(connection)
    assert progress(connection, job) == (100, None)


async def test_tracked_parts_are_the_same_parts_and_told_as_they_are_done(database: str, connect: Connect) -> None:
    app = App(database)
    seen: dict[str, list[int]] = {"async": [], "plain": []}
    released = threading.Event()

    @app.task
    async def asynchronous(ctx: Context) -> None:
        async for part in ctx.track([1, 2, 3]):
            seen["async"].append(part)
        async for part in ctx.track(generated(), total=4):
            seen["async"].append(part)

    async def generated() -> AsyncGenerator[int]:
        for n in (4, 5):
            yield n

    @app.task
    def plain(ctx: Context) -> None:
        for part in ctx.track(iter([1, 2])):
            seen["plain"].append(part)
        for part in ctx.track(range(4)):
            if part == 3:
                released.wait(10)
            seen["plain"].append(part)

    connection = connect()
    first, second = submit(connection, "asynchronous"), submit(connection, "plain")
    async with running_worker(app, database):
        await until(lambda: progress(connection, second) == (75, "3 of 4"))
        released.set()
        await until_ended(connection)
    assert seen == {"async": [1, 2, 3, 4, 5], "plain": [1, 2, 0, 1, 2, 3]}
    assert progress(connection, first) == (50, "2 of 4")
    assert progress(connection, second) == (100, "4 of 4")


@pytest.mark.parametrize("kind", ["asynchronous", "plain"])
async def test_a_tracked_loop_ends_when_its_job_is_cancelled(database: str, connect: Connect, kind: str) -> None:
    app = App(database)

    @app.task
    async def asynchronous(ctx: Context) -> None:
        async for _ in ctx.track(range(10**9)):
            pass

    @app.task
    def plain(ctx: Context) -> None:
        for _ in ctx.track(range(10**9)):
            pass

    connection = connect()
    job = submit(connection, kind)
    async with running_worker(app, database, lease=1.0):
        await until(lambda: state_of(connection, job) == "running")
        connection.execute("select dtsched.cancel(%s)", (job,))
        await until_ended(connection, job)
    assert state_of(connection, job) == "cancelled"


class Nothing:
    def progress(self, percent: float | None, message: str | None) -> None: ...

    def line(self, level: str, logger: str | None, message: str) -> None: ...


@pytest.mark.parametrize(
    ("share", "message", "told"),
    [
        (1.01, None, "progress must be a share from 0 to 1, as 0.4 is for 40 %, not 1.01"),
        (-0.01, None, "progress must be a share from 0 to 1, as 0.4 is for 40 %, not -0.01"),
        (float("nan"), None, "progress must be a share from 0 to 1, or None, not nan"),
        ("40", None, "progress must be a share from 0 to 1, or None, not '40'"),
        (True, None, "progress must be a share from 0 to 1, or None, not True"),
        (0.4, 5, "message must be text, not 5"),
    ],
)
def test_what_is_no_progress_is_refused(share: Any, message: Any, told: str) -> None:
    async def nobody(_: int) -> list[Any]:
        return []

    context = Context(
        job_id=1, task="t", queue="q", attempt=1, max_attempts=1, worker_id=uuid4(), correlation_id="c",
        read_parents=nobody, notes=Nothing(), completion=Completion(uuid4(), 1),
    )  # fmt: skip
    with pytest.raises(InvalidInput) as refused:
        context.progress(share, message)
    assert str(refused.value) == told
    context.progress(sum([0.1] * 10) + 1e-12, "rounding is forgiven")
    with pytest.raises(InvalidInput, match="level must be debug, info"):
        context.log("x", level=cast("Any", "INFO"))


@contextmanager
def away(connection: psycopg.Connection) -> Generator[None]:
    """Nobody can reach the database, but for this connection."""
    name = connection.info.dbname
    admin = psycopg.connect(connection.info.dsn, dbname="postgres", password=connection.info.password, autocommit=True)
    with admin:
        admin.execute(f"alter database {name} allow_connections false".encode())
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> %s",
            (name, connection.info.backend_pid),
        )
        try:
            yield
        finally:
            admin.execute(f"alter database {name} allow_connections true".encode())


async def test_while_the_database_is_away_the_handler_goes_on_and_the_oldest_lines_are_dropped_and_counted(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_BYTES", 10_000)
    app = App(database)
    began, gone = asyncio.Event(), asyncio.Event()

    @app.task
    async def talk(ctx: Context) -> str:
        log.info("before")
        began.set()
        await gone.wait()
        for n in range(1000):
            log.info("%04d%s", n, "x" * 96)
        ctx.progress(1, "all said")
        return "done"

    connection = connect()
    job = submit(connection, "talk")
    async with running_worker(app, database):
        await until(lambda: began.is_set() and messages(connection, job) == ["before"])
        with away(connection):
            gone.set()
            await asyncio.sleep(0.3)
            assert state_of(connection, job) == "running"
        await until_ended(connection)
    first, dropped, *rest = lines(connection, job)
    assert first[2] == "before"
    kept = 10_000 // 300
    assert dropped == (
        "warning",
        "dtsched",
        f"{1000 - kept} lines were dropped here: the database did not take them in time",
    )
    assert [line[2][:4] for line in rest] == [f"{n:04}" for n in range(1000 - kept, 1000)]
    assert progress(connection, job) == (100, "all said")
    assert one(connection, "select result from dtsched.job(%s)", job) == "done"


async def test_lines_of_a_job_whose_row_somebody_holds_are_sent_again(database: str, connect: Connect) -> None:
    app = App(database)
    goes_on = asyncio.Event()

    @app.task
    async def talk() -> None:
        await goes_on.wait()
        log.info("said")

    connection, holder = connect(), connect()
    job, other = submit(connection, "talk"), submit(connection, "talk")
    async with running_worker(app, database):
        await until(lambda: state_of(connection, job) == state_of(connection, other) == "running")
        with holder.transaction():
            holder.execute("select from dtsched.jobs where id = %s for update", (job,))
            goes_on.set()
            await until(lambda: state_of(connection, other) == "completed")
        await until_ended(connection)
    assert messages(connection, job) == messages(connection, other) == ["said"]


async def test_a_table_of_lines_that_cannot_be_written_keeps_no_job_from_ending(
    database: str, connect: Connect
) -> None:
    app = App(database)

    @app.task
    async def talk() -> str:
        log.info("said")
        return "done"

    connection = connect()
    connection.execute("alter table dtsched.job_logs add constraint refused check (false)")
    jobs = [submit(connection, "talk") for _ in range(3)]
    async with running_worker(app, database):
        await until_ended(connection)
    assert [state_of(connection, job) for job in jobs] == ["completed"] * 3


async def test_results_are_kept_up_to_the_tasks_limit_or_not_at_all(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task(result=False)
    async def unkept() -> int:
        return 5

    @app.task(max_result=12)
    async def bounded(text: str) -> str:
        return text

    connection = connect()
    async with app, running_worker(app, database):
        assert await (await unkept.submit()).result(timeout=20) is None
        assert await (await bounded.submit("x" * 10)).result(timeout=20) == "x" * 10
        large = await bounded.submit("x" * 11)
        await until_ended(connection)
    row = connection.execute("select state, error, attempt from dtsched.jobs where id = %s", (large.id,)).fetchone()
    assert row == (
        "failed",
        "UnstorableResult: the result is 13 bytes of JSON, at most 12 are stored; return a reference to it",
        1,
    )


@pytest.mark.parametrize("options", [{"result": 0}, {"max_result": 0}, {"max_result": 1_048_577}, {"max_result": "1"}])
def test_limits_of_results_that_are_none_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InvalidInput, match=f"task work: {name} must be"):

        @App("postgresql://nowhere").task(**options)
        def work() -> None: ...

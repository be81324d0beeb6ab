"""What becomes of a job when its handler returns, raises, is told to stop, or brings something that cannot be
stored."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import cast

import msgspec
import psycopg
import pytest

from dtsched import App, Cancel, Context, InvalidInput, Retry, Snooze
from tests.runtime.workers import one, running_worker, state_of, states, submit, until, until_ended
from tests.support.patience import NEVER_SECONDS

Connect = Callable[[], psycopg.Connection]
SOON = '{"kind": "fixed", "base": 0.02}'


class Point(msgspec.Struct):
    x: int
    y: int


class Odd(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        raise KeyError("not what decoders expect")


async def test_args_arrive_in_their_annotated_types_and_results_are_stored(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def add(point: Point, factor: int = 2) -> dict[str, int]:
        return {"sum": (point.x + point.y) * factor}

    @app.task
    def concatenate(first: str, *, second: str) -> str:
        return f"{first}{second} in {threading.current_thread().name.startswith('dtsched-default')}"

    connection = connect()
    async with running_worker(app, database):
        sum_id = submit(connection, "add", {"point": {"x": 1, "y": 2}})
        text_id = submit(connection, "concatenate", {"first": "a", "second": "b"})
        await until_ended(connection, sum_id, text_id)
    assert one(connection, "select result from dtsched.job(%s)", sum_id) == {"sum": 6}
    assert one(connection, "select result from dtsched.job(%s)", text_id) == "ab in True"


async def test_args_that_do_not_fit_fail_at_once_and_name_the_field(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def send(to: str, copies: int) -> None: ...

    @app.task
    async def check_itself() -> None:
        raise InvalidInput("to must be an address", field="to")

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "send", {"to": "a", "copies": "many"})
        await until_ended(connection, job, own := submit(connection, "check_itself"))
    assert connection.execute("select state, attempt from dtsched.jobs where id = %s", (own,)).fetchone() == (
        "failed",
        1,
    )
    assert connection.execute("select state, attempt from dtsched.jobs where id = %s", (job,)).fetchone() == (
        "failed",
        1,
    )
    assert "copies" in one(connection, "select message from dtsched.attempts where job_id = %s", job)


async def test_a_failed_attempt_is_retried_after_its_backoff_until_it_succeeds(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def stumble(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return ctx.attempt

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "stumble", backoff=SOON)
        await until_ended(connection, job)
    assert one(connection, "select result from dtsched.job(%s)", job) == 3
    attempts = connection.execute("select attempt, outcome, error_type, message from dtsched.attempts order by attempt")
    assert attempts.fetchall() == [(1, "retry", "ValueError", "not yet"), (2, "retry", "ValueError", "not yet")]


async def test_a_job_whose_attempts_are_used_up_fails_with_its_traceback(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.task
    def stumble() -> None:
        raise KeyError("always")

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "stumble", backoff=SOON, max_attempts=2)
        await until_ended(connection, job)
    assert connection.execute("select state, attempt from dtsched.jobs where id = %s", (job,)).fetchone() == (
        "failed",
        2,
    )
    trace = one(connection, "select traceback from dtsched.attempts where attempt = 2")
    assert "in stumble" in trace
    assert f"job {job} (stumble): attempt 2 of 2 ended with KeyError" in caplog.text
    assert "always" not in caplog.text
    assert "slot.py" not in trace


@pytest.mark.parametrize("raised", [True, False])
async def test_retry_snooze_and_cancel_may_be_raised_or_returned(database: str, connect: Connect, raised: bool) -> None:
    app = App()
    seen: list[tuple[str, int]] = []

    def answer(what: Retry | Snooze | Cancel) -> object:
        if raised:
            raise what
        return what

    @app.task
    async def again(ctx: Context) -> object:
        seen.append(("again", ctx.attempt))
        return answer(Retry(after="20ms")) if ctx.attempt == 1 else None

    @app.task
    async def later(ctx: Context) -> object:
        seen.append(("later", ctx.attempt))
        return answer(Snooze("20ms")) if seen.count(("later", 1)) == 1 else None

    @app.task
    async def never() -> object:
        return answer(Cancel("no longer wanted"))

    connection = connect()
    async with running_worker(app, database):
        jobs = [submit(connection, name) for name in ("again", "later", "never")]
        await until_ended(connection, *jobs)
    assert [state_of(connection, job) for job in jobs] == ["completed", "completed", "cancelled"]
    assert sorted(seen) == [("again", 1), ("again", 2), ("later", 1), ("later", 1)]


async def test_an_attempt_that_runs_into_its_timeout_is_an_error_of_kind_timeout(
    database: str, connect: Connect
) -> None:
    app = App()
    told = threading.Event()

    @app.task
    async def linger() -> None:
        await asyncio.sleep(60)

    @app.task(timeout="100ms")
    def work_in_a_thread(ctx: Context) -> None:
        while not ctx.cancelled:
            time.sleep(0.005)
        told.set()

    connection = connect()
    async with running_worker(app, database):
        jobs = [
            submit(connection, "linger", timeout="100 ms", max_attempts=1),
            submit(connection, "work_in_a_thread", max_attempts=1),
        ]
        await until_ended(connection, *jobs)
    assert told.is_set()
    assert [state_of(connection, job) for job in jobs] == ["failed", "failed"]
    kinds = connection.execute("select distinct error_type from dtsched.attempts").fetchall()
    assert kinds == [("timeout",)]


@pytest.mark.parametrize("task", ["deaf", "deaf_in_a_thread"])
async def test_a_handler_that_does_not_stop_loses_its_attempt_but_not_the_worker(
    database: str, connect: Connect, task: str
) -> None:
    app = App()
    enough = threading.Event()

    @app.task
    async def deaf() -> None:
        while not enough.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    @app.task
    def deaf_in_a_thread() -> None:
        enough.wait(60)

    @app.task
    async def note() -> None: ...

    connection = connect()
    async with running_worker(app, database, {"default": 2}):
        job = submit(connection, task, timeout="50 ms", max_attempts=1)
        await until_ended(connection, job)
        assert not enough.is_set()
        others = [submit(connection, "note") for _ in range(5)]
        await until_ended(connection, *others)
        enough.set()
    assert state_of(connection, job) == "failed"
    assert one(connection, "select error_type from dtsched.attempts") == "timeout"


async def test_a_cancelled_handler_that_does_not_stop_is_given_up_on(database: str, connect: Connect) -> None:
    app = App()
    enough = threading.Event()

    @app.task
    def deaf() -> None:
        enough.wait(60)

    connection = connect()
    async with running_worker(app, database, lease=0.5):  # each renewal, every 100 ms, names the cancelled anew
        job = submit(connection, "deaf")
        await until(lambda: state_of(connection, job) == "running")
        connection.execute("select dtsched.cancel(%s)", (job,))
        await until_ended(connection, job, seconds=30)  # half of what it goes on for
        enough.set()
    assert state_of(connection, job) == "cancelled"


async def test_a_slot_whose_handler_goes_on_takes_nothing_until_it_ends(database: str, connect: Connect) -> None:
    app = App()
    enough = threading.Event()

    @app.task
    def deaf() -> None:
        enough.wait(60)

    @app.task
    def note() -> None: ...

    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, "deaf", timeout="50 ms", max_attempts=1)
        await until_ended(connection, job)
        other = submit(connection, "note")
        await asyncio.sleep(0.5)
        assert state_of(connection, other) == "ready"
        enough.set()
        await until_ended(connection, other)
    assert sum(thread.name.startswith("dtsched-default") for thread in threading.enumerate()) <= 1


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError]
)
async def test_whatever_a_handler_raises_is_its_own_failure_and_not_the_workers(
    database: str, connect: Connect, error: type[BaseException]
) -> None:
    app = App()

    @app.task
    async def raise_it() -> None:
        raise error

    @app.task
    def raise_it_in_a_thread() -> None:
        raise error

    @app.task
    async def note() -> None: ...

    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        bad = [submit(connection, name, max_attempts=1) for name in ("raise_it", "raise_it_in_a_thread")]
        good = submit(connection, "note")
        await until_ended(connection, *bad, good)
    assert [state_of(connection, job) for job in (*bad, good)] == ["failed", "failed", "completed"]
    types = connection.execute("select distinct error_type from dtsched.attempts where job_id = any (%s)", (bad,))
    assert all(kind.endswith(error.__name__) for (kind,) in types.fetchall())


async def test_a_handler_that_cancels_its_own_task_harms_neither_its_slot_nor_the_next_job(
    database: str, connect: Connect
) -> None:
    app = App()

    @app.task
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    @app.task
    async def nap() -> None:
        await asyncio.sleep(0.01)

    connection = connect()
    for n in range(10):
        submit(connection, "nap" if n % 2 else "cancel_itself", max_attempts=1)
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection)
        await until_ended(connection, submit(connection, "nap", max_attempts=1))
    assert states(connection) == {"completed": 11}


async def test_a_running_handler_is_cancelled_at_once_when_its_job_is(database: str, connect: Connect) -> None:
    app = App()
    stopped: list[str] = []

    @app.task
    async def linger() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append("async")

    @app.task
    def linger_in_a_thread(ctx: Context) -> None:
        while not ctx.cancelled:
            time.sleep(0.005)
        stopped.append("thread")

    connection = connect()
    async with running_worker(app, database, lease=60.0):
        jobs = [submit(connection, "linger"), submit(connection, "linger_in_a_thread")]
        await until(lambda: [state_of(connection, job) for job in jobs] == ["running", "running"])
        connection.execute("select dtsched.cancel(%s::bigint[])", (jobs,))
        await until_ended(connection, *jobs)
    assert [state_of(connection, job) for job in jobs] == ["cancelled", "cancelled"]
    assert sorted(stopped) == ["async", "thread"]


async def test_a_waiting_job_that_is_cancelled_never_starts(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtsched.runtime.slots.HOARD_SECONDS", NEVER_SECONDS)
    app = App()
    started: list[int] = []
    cancelled = asyncio.Event()

    @app.task
    async def quick() -> None: ...

    @app.task
    async def linger(ctx: Context) -> None:
        started.append(ctx.job_id)
        await cancelled.wait()

    connection = connect()
    jobs = [submit(connection, "linger") for _ in range(3)]
    for _ in range(300):  # they teach the worker to fetch ahead
        submit(connection, "quick", priority=10)
    async with running_worker(app, database, {"default": 1}):
        await until(lambda: [state_of(connection, job) for job in jobs] == ["running"] * 3)
        connection.execute("select dtsched.cancel(%s)", (jobs[1],))
        await until(lambda: state_of(connection, jobs[1]) == "cancelled")
        cancelled.set()
        await until_ended(connection, *jobs)
    assert started == [jobs[0], jobs[2]]
    assert [state_of(connection, job) for job in jobs] == ["completed", "cancelled", "completed"]


async def test_an_outcome_that_is_itself_broken_costs_its_job_and_not_the_slot(database: str, connect: Connect) -> None:
    class Unfinished(Snooze):
        def __init__(self) -> None:
            """Leaves out what a snooze is made of."""

    app = App()

    @app.task
    async def unfinished() -> None:
        raise Unfinished

    @app.task
    async def odd_delay() -> None:
        error = Retry(after=1)
        error.after = cast("float", object())
        raise error

    @app.task
    async def odd_reason() -> None:
        raise Cancel(cast("str", 404))

    @app.task
    async def no_text() -> msgspec.Raw:
        return msgspec.Raw(b'"\xff"')

    connection = connect()
    names = ("unfinished", "odd_delay", "no_text")
    async with running_worker(app, database, {"default": 1}):
        jobs = [submit(connection, name, max_attempts=1) for name in (*names, "odd_reason")]
        await until_ended(connection, *jobs)
    assert [state_of(connection, job) for job in jobs] == ["failed"] * 3 + ["cancelled"]
    assert one(connection, "select message from dtsched.attempts where outcome = 'cancel'") == "404"


async def test_a_thread_that_could_not_be_started_is_started_for_the_next_job(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def warm_up() -> None: ...

    @app.task
    def note() -> int:
        return 1

    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection, submit(connection, "warm_up"))  # all other threads run by then
        threading.stack_size(1 << 47)  # more than there are addresses
        try:
            failing = submit(connection, "note", max_attempts=1)
            await until_ended(connection, failing)
        finally:
            threading.stack_size(0)
        await until_ended(connection, submit(connection, "note"))
    assert states(connection) == {"failed": 1, "completed": 2}


async def test_nul_and_lone_surrogates_in_results_and_errors_are_replaced(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def nul() -> dict[str, str]:
        return {"a\x00": "b\x00c", "kept": "\\u0000"}

    @app.task
    async def surrogate() -> list[str]:
        return ["\ud800x"]

    @app.task
    async def bad_message() -> None:
        raise ValueError("a\x00b\udfff")

    connection = connect()
    async with running_worker(app, database):
        jobs = [submit(connection, name, max_attempts=1) for name in ("nul", "surrogate", "bad_message")]
        await until_ended(connection, *jobs)
    assert one(connection, "select result from dtsched.job(%s)", jobs[0]) == {"a\ufffd": "b\ufffdc", "kept": "\\u0000"}
    assert one(connection, "select result from dtsched.job(%s)", jobs[1]) == ["\ufffdx"]
    assert one(connection, "select message from dtsched.attempts") == "a\ufffdb\ufffd"


async def test_a_result_that_cannot_be_stored_fails_its_own_job_and_no_neighbour(
    database: str, connect: Connect
) -> None:
    app = App()

    @app.task
    async def poison() -> msgspec.Raw:
        return msgspec.Raw(b"1e999999")  # JSON, but no number that PostgreSQL has

    @app.task
    async def huge() -> str:
        return "x" * 1024 * 1024

    @app.task
    async def no_json() -> object:
        return object()

    @app.task
    async def note(n: int) -> int:
        return n

    @app.task
    async def odd(value: Odd) -> None: ...

    connection = connect()
    submit(connection, "odd", {"value": {"n": 1}}, max_attempts=1)
    bad = [submit(connection, name) for name in ("poison", "huge", "no_json")]
    good = [submit(connection, "note", {"n": n}) for n in range(50)]
    async with running_worker(app, database):
        await until_ended(connection)
    assert [state_of(connection, job) for job in bad] == ["failed"] * 3
    assert {state_of(connection, job) for job in good} == {"completed"}
    errors = connection.execute("select error_type, attempt from dtsched.attempts order by error_type").fetchall()
    assert errors == [("KeyError", 1)] + [("UnstorableResult", 1)] * 3


async def test_jobs_of_other_tasks_are_left_to_workers_that_know_them(database: str, connect: Connect) -> None:
    here, elsewhere = App(), App()

    @here.task
    async def known() -> None: ...

    @elsewhere.task
    async def unknown() -> None: ...

    connection = connect()
    strange, familiar = submit(connection, "unknown"), submit(connection, "known")
    async with running_worker(here, database):
        await until_ended(connection, familiar)
        assert connection.execute("select state, attempt from dtsched.jobs where id = %s", (strange,)).fetchone() == (
            "ready",
            0,
        )
        async with running_worker(elsewhere, database):
            await until_ended(connection, strange)

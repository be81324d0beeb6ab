"""How an attempt ends by the rules of its task, a cancellation, a time that is over and a crash, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dtsched import App, InvalidInput, Retry
from tests.runtime.ending_handlers import app
from tests.runtime.handlers import recorded
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended, worker_process
from tests.support.patience import NEVER_SECONDS, five_tries, timely, within

Connect = Callable[[], psycopg.Connection]

EXECUTORS = ("async", "thread", "process")
HANDLERS = "tests.runtime.ending_handlers:app"


def attempts(connection: psycopg.Connection, job: int) -> list[tuple[Any, ...]]:
    statement = "select outcome, error_type from dtsched.attempts where job_id = %s order by lease_id"
    return connection.execute(statement, (job,)).fetchall()


async def until_declared(connection: psycopg.Connection) -> None:
    """Only then a job by SQL takes over what its task says."""
    await until(lambda: one(connection, "select count(*) from dtsched.tasks"))


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_only_errors_that_the_task_names_are_retried(database: str, connect: Connect, executor: str) -> None:
    connection = connect()
    names = ("TimeoutError", "ConnectionError", "Busy", "ConnectionRefusedError", "ValueError", "Fail")
    async with running_worker(app, database):
        await until_declared(connection)
        jobs = {name: submit(connection, f"stumble_{executor}", {"name": name}) for name in names}
        await until_ended(connection, *jobs.values())
    tried = {name: [outcome for outcome, _ in attempts(connection, job)] for name, job in jobs.items()}
    thrice, once = ["retry", "retry", "fail"], ["fail"]
    assert tried == {
        "TimeoutError": thrice,
        "ConnectionError": thrice,
        "Busy": thrice,
        "ConnectionRefusedError": once,
        "ValueError": once,
        "Fail": once,
    }
    assert one(connection, "select error from dtsched.jobs where id = %s", jobs["Fail"]) == "Fail: no such address"


async def test_a_timeout_is_judged_as_a_timeout_error_and_fail_may_be_returned(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(app, database):
        await until_declared(connection)
        slow, told = submit(connection, "too_slow"), submit(connection, "return_fail")
        await until_ended(connection, slow, told)
    assert attempts(connection, slow) == [("fail", "timeout")]
    assert attempts(connection, told) == [("fail", "Fail")]


async def test_the_wait_is_that_of_the_class_of_the_error(database: str, connect: Connect) -> None:
    own = App()

    @own.task(retry=Retry(2, delays={OSError: "1h", ConnectionError: "2h"}))
    async def stumble(kind: str) -> None:
        raise {"os": PermissionError, "reset": ConnectionResetError, "value": ValueError}[kind]

    connection = connect()
    async with running_worker(own, database):
        await until_declared(connection)
        jobs = [submit(connection, "stumble", {"kind": kind}) for kind in ("os", "reset", "value")]
        await until(lambda: all(state_of(connection, job) == "scheduled" for job in jobs))
    waits = connection.execute(
        "select round(extract(epoch from run_at - started_at) / 3600, 2)::float8 from dtsched.jobs order by id"
    ).fetchall()
    assert [round(hours, 1) for (hours,) in waits] == [1, 2, 0]


@pytest.mark.parametrize("given", [{"on": "ValueError"}, {"never": int}, {"delays": {"x": 1}}, {"on": [ValueError()]}])
def test_rules_name_classes_of_exceptions(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="must be classes of exceptions, not"):
        Retry(3, **given)


@pytest.mark.parametrize("told_by", ["notification", "heartbeat"])
@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_running_handler_is_told_of_its_cancellation_at_once(
    database: str, connect: Connect, events: Path, executor: str, told_by: str
) -> None:
    connection = connect()
    lease = NEVER_SECONDS if told_by == "notification" else 1.0  # it renews every fifth of that
    async with running_worker(app, database, lease=lease):
        job = submit(connection, f"linger_{executor}", {"path": str(events)})
        await until(lambda: recorded(events))
        if told_by == "heartbeat":
            connection.execute("set dtsched.notify = 'off'")
        assert one(connection, "select dtsched.cancel(%s)", job) == "requested"
        await until_ended(connection, job)
    assert state_of(connection, job) == "cancelled"
    if executor == "process":
        (pid,) = recorded(events.with_suffix(".pid"))
        assert not Path(f"/proc/{pid}").exists()  # noqa: ASYNC240
    else:
        assert recorded(events) == ["begins", "told"]


@pytest.mark.parametrize("executor", EXECUTORS)
@five_tries
async def test_a_running_attempt_is_stopped_at_the_deadline_and_the_job_fails(
    database: str, connect: Connect, events: Path, executor: str
) -> None:
    connection = connect()
    events.unlink(missing_ok=True)  # noqa: ASYNC240  (a moment)
    async with running_worker(app, database):
        seconds = 0.7 * 2 ** one(connection, "select count(*) from dtsched.jobs")  # longer in each try: it has to begin
        job = submit(connection, f"linger_{executor}", {"path": str(events)}, expires_in=f"{seconds} s")
        await until_ended(connection, job)
    assert one(connection, "select finished_at >= deadline from dtsched.jobs where id = %s", job)
    timely(recorded(events)[:1] == ["begins"], "it never began")
    message = one(connection, "select message from dtsched.attempts where job_id = %s", job)
    timely("its worker did not end it" not in message, message)
    assert attempts(connection, job) == [("fail", "deadline")]


@five_tries
async def test_a_job_that_nobody_takes_fails_soon_after_its_deadline(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "return_fail", queue="unserved", expires_in="0.2 s")
        with within(2.2):
            await until_ended(connection, job)
    assert one(connection, "select error from dtsched.jobs") == "deadline: it had not ended by its deadline"


async def test_what_a_worker_with_a_blocked_loop_does_not_end_is_taken_away_and_its_late_end_refused(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    with worker_process(database, app=HANDLERS, queues="default:1"):
        await until_declared(connection)
        job = submit(connection, "block_the_loop", {"path": str(events)})
        await until(lambda: recorded(events))
        witness = one(connection, "select id from dtsched.workers")

        def is_taken_away() -> bool:  # by us, or by the worker itself; one that renewed late is no witness once more
            connection.execute("update dtsched.workers set unbroken_since = unbroken_since - interval '1 hour'")
            connection.execute("update dtsched.leases set deadline = deadline - interval '1 minute'")
            connection.execute("select dtsched.expire(%s)", [witness])
            return attempts(connection, job) != []

        await until(is_taken_away)
        assert recorded(events) == ["attempt 1"]
        await until_ended(connection, job)
    assert recorded(events) == ["attempt 1", "attempt 2"]
    assert state_of(connection, job) == "completed"
    assert attempts(connection, job) == [("retry", "timeout")]
    message = one(connection, "select message from dtsched.attempts")
    assert message.endswith("its timeout; its worker did not end it, and it was taken away")


@five_tries
async def test_a_handler_whose_lease_is_taken_away_is_told(database: str, connect: Connect, events: Path) -> None:
    connection = connect()
    events.unlink(missing_ok=True)  # noqa: ASYNC240  (a moment)
    async with running_worker(app, database, {"default": 1}, lease=60.0):
        job = submit(connection, "linger_async", {"path": str(events)}, max_attempts=1)
        await until(lambda: recorded(events))
        connection.execute("update dtsched.leases set deadline = clock_timestamp() - interval '30 s'")
        connection.execute("update dtsched.workers set unbroken_since = clock_timestamp() - interval '1 hour'")
        with within(3):
            await until(lambda: recorded(events) == ["begins", "told"])
        await until_ended(connection, job)
    assert attempts(connection, job) == [("fail", "timeout")]


@pytest.mark.parametrize("how", ["segfault", "exit", "kill"])
async def test_a_job_that_kills_its_process_fails_at_its_crash_cap(
    database: str, connect: Connect, events: Path, how: str
) -> None:
    connection = connect()
    async with running_worker(app, database):
        await until_declared(connection)
        job = submit(connection, "die", {"path": str(events), "how": how})
        await until_ended(connection, job)
    assert recorded(events) == [how, how]
    assert attempts(connection, job) == [("retry", "ProcessDied"), ("fail", "ProcessDied")]


@pytest.mark.parametrize("how", ["segfault", "exit", "kill"])
async def test_a_job_that_kills_its_worker_fails_at_its_crash_cap_and_what_ran_beside_it_comes_back(
    database: str, connect: Connect, events: Path, how: str
) -> None:
    connection = connect()
    job = submit(connection, "kill_the_worker", {"path": str(events), "how": how})
    beside = [submit(connection, "run_beside", {"path": str(events)}) for _ in range(2)]
    for deaths in (1, 2):
        with worker_process(database, app=HANDLERS, lease="500ms") as victim:
            await until(lambda: victim.poll() is not None)
        assert recorded(events).count("dies") == deaths
    async with running_worker(app, database, lease=0.5):
        await until_ended(connection, job, *beside)
    assert recorded(events).count("dies") == 2
    assert attempts(connection, job) == [("crash", "WorkerLost"), ("crash", "WorkerLost")]
    ended = "select state, attempt, crash_count from dtsched.jobs order by id"
    assert connection.execute(ended).fetchall() == [("failed", 2, 2), ("completed", 3, 2), ("completed", 3, 2)]
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_a_handler_that_is_refused_memory_fails_its_attempt_and_costs_no_crash(
    database: str, connect: Connect
) -> None:
    connection = connect()
    async with running_worker(app, database):
        await until_declared(connection)
        await until_ended(connection, job := submit(connection, "ask_for_too_much_memory"))
    assert attempts(connection, job) == [("retry", "MemoryError"), ("fail", "MemoryError")]
    assert one(connection, "select crash_count from dtsched.jobs") == 0


async def test_the_worker_declares_its_tasks_and_jobs_by_sql_take_their_settings(
    database: str, connect: Connect
) -> None:
    own = App()

    @own.task(
        queue="mail", priority=7, retry=Retry(4, backoff="fixed", base=1, on=OSError), timeout="90s", max_crashes=5
    )
    async def send(to: str, copies: int = 1) -> None: ...

    connection = connect()
    async with running_worker(own, database):
        await until_declared(connection)
        settings, schema, workers = connection.execute(
            "select settings, args_schema, workers from dtsched.list_tasks()"
        ).fetchone() or ({}, {}, 0)
        submit(connection, "send", {"to": "a"})
    assert settings == {
        "queue": "mail",
        "priority": 7,
        "max_attempts": 4,
        "timeout": 90,
        "backoff": {"kind": "fixed", "base": 1, "cap": 3600, "jitter": 0.25},
        "max_crashes": 5,
        "retry_on": ["OSError"],
        "executor": "async",
    }
    assert schema["$defs"]["Args_send"]["properties"] == {
        "to": {"type": "string"},
        "copies": {"type": "integer"},
    }
    assert schema["$defs"]["Args_send"]["required"] == ["to"]
    assert workers == 1
    row = connection.execute("select queue, priority, max_attempts, backoff ->> 'kind' from dtsched.jobs").fetchone()
    assert row == ("mail", 7, 4, "fixed")

"""Handlers that complete their job in their own transaction: effects happen exactly once, wherever a worker dies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.runtime.ending_handlers import app
from tests.runtime.handlers import recorded
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended, worker_process

Connect = Callable[[], psycopg.Connection]

HANDLERS = "tests.runtime.ending_handlers:app"
EXECUTORS = ("async", "thread", "process")


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection:
    connection = connect()
    connection.execute("create table public.effects (job bigint, attempt integer)")
    return connection


def effects(connection: psycopg.Connection) -> list[int]:
    """The attempts that had one."""
    return [attempt for (attempt,) in connection.execute("select attempt from public.effects").fetchall()]


def errors(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute("select error_type from dtsched.attempts").fetchall()]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("step", "effect_of", "error"),
    [
        ("", 1, []),
        ("raise", 2, ["ValueError"]),
        ("roll back", 2, ["CompletionNotCommitted"]),
        ("raise after the commit", 1, []),
    ],
)
async def test_the_effects_and_the_completion_commit_together_or_not_at_all(
    database: str,
    connection: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    executor: str,
    step: str,
    effect_of: int,
    error: list[str],
) -> None:
    async with running_worker(app, database, grace_seconds=5.0):
        await until(lambda: one(connection, "select count(*) from dtsched.tasks"))
        job = submit(connection, f"transfer_{executor}", {"dsn": database, "step": step})
        await until_ended(connection, job)
        await until(lambda: one(connection, "select count(*) from dtsched.leases") == 0)
    assert effects(connection) == [effect_of]
    assert one(connection, "select result from dtsched.job(%s)", job) == {"attempt": effect_of}
    assert errors(connection) == error
    assert "were refused" not in caplog.text
    if not error:
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert connection.execute("select * from dtsched.check()").fetchall() == []


@pytest.mark.parametrize(
    ("executor", "step", "effect_of"),
    [
        ("async", "before the effects", 2),
        ("async", "before the completion", 2),
        ("async", "before the commit", 2),
        ("async", "after the commit", 1),
        ("thread", "before the commit", 2),
        ("process", "before the commit", 2),
        ("process", "after the commit", 1),
    ],
)
async def test_a_worker_killed_at_any_step_leaves_the_effects_exactly_once(
    database: str, connection: psycopg.Connection, executor: str, step: str, effect_of: int
) -> None:
    with worker_process(database, app=HANDLERS, lease="500ms") as victim:
        job = submit(connection, f"transfer_{executor}", {"dsn": database, "step": step})
        await until(lambda: victim.poll() is not None)
    async with running_worker(app, database, lease=0.5, grace_seconds=5.0):
        await until_ended(connection, job)
    assert state_of(connection, job) == "completed"
    assert effects(connection) == [effect_of]
    assert errors(connection) == ["WorkerLost"] * (effect_of - 1)
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_a_handler_may_complete_by_sql(database: str, connection: psycopg.Connection) -> None:
    async with running_worker(app, database):
        job = submit(connection, "transfer_by_sql", {"dsn": database, "step": ""})
        await until_ended(connection, job)
    assert effects(connection) == [1]
    assert one(connection, "select result from dtsched.job(%s)", job) == "by SQL"


@pytest.mark.parametrize(
    ("step", "says"),
    [("autocommit", "this connection is in no transaction"), ("other kind", "this connection is asynchronous")],
)
async def test_a_connection_that_cannot_be_completed_on_is_refused(
    database: str, connection: psycopg.Connection, step: str, says: str
) -> None:
    async with running_worker(app, database):
        job = submit(connection, "complete_outside", {"dsn": database, "step": step})
        await until_ended(connection, job)
    assert state_of(connection, job) == "failed"
    assert says in one(connection, "select message from dtsched.attempts")


@pytest.mark.parametrize("task", ["linger_after_completing", "linger_in_a_process"])
async def test_a_handler_goes_on_after_it_has_completed(
    database: str, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """In another process for two seconds: here, for as long as it takes."""
    monkeypatch.setattr("dtsched.runtime.worker._SUSPECTED_SECONDS", 60.0)
    events = tmp_path / "events"
    async with running_worker(app, database, lease=0.5, grace_seconds=5.0):
        job = submit(connection, task, {"dsn": database, "path": str(events)})
        await until(lambda: recorded(events) == ["completed", "ends"])
    assert state_of(connection, job) == "completed"
    assert errors(connection) == []

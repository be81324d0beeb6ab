"""Workers for tests: in the test's own event loop, and as processes that may be stopped, frozen and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from dtsched import App
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings
from tests.support.patience import PATIENCE_SECONDS
from tests.support.patience import until_async as until

ENDED = ("completed", "failed", "cancelled")


@asynccontextmanager
async def running_worker(
    app: App,
    dsn: str,
    queues: Mapping[str, int] | None = None,
    *,
    lease: float = 5.0,
    poll: float = 0.2,
    grace_seconds: float = 0.0,
    deaf_seconds: float = 15.0,
) -> AsyncGenerator[Worker]:
    """A worker that is told to stop when the block is left."""
    settings = Settings(dsn=dsn, lease=lease, poll=poll, worker_name="test")
    worker = Worker(
        app.registry, settings, queues or {"default": 4}, grace_seconds=grace_seconds, deaf_seconds=deaf_seconds
    )
    run = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await run


@contextmanager
def worker_process(
    dsn: str,
    *,
    app: str = "tests.runtime.handlers:app",
    queues: str = "default:4",
    lease: str = "1s",
    poll: str = "200ms",
    grace: str = "30s",
) -> Generator[subprocess.Popen[str]]:
    """`dtsched worker` on the tasks of `app`; killed at the end if it still runs. Its log is its stderr."""
    arguments = ["-m", "dtsched", "worker", "-A", app, "--lease", lease, "--poll", poll]
    arguments += ["--grace", grace, *(part for queue in queues.split() for part in ("-q", queue))]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "DTSCHED_DSN": dsn},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


def submit(connection: psycopg.Connection, task: str, args: Mapping[str, object] | None = None, **options: Any) -> int:
    """By SQL, with the named arguments of dtsched.submit()."""
    named = "".join(f", {name} => %({name})s" for name in options)
    statement: Any = f"select dtsched.submit(%(task)s, %(args)s{named})"
    row = connection.execute(statement, {"task": task, "args": Jsonb(dict(args or {})), **options}).fetchone()
    assert row is not None
    return row[0]


def one(connection: psycopg.Connection, statement: LiteralString, *parameters: object) -> Any:
    """The only value of the only row."""
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


def state_of(connection: psycopg.Connection, job_id: int) -> str:
    return one(connection, "select state from dtsched.jobs where id = %s", job_id)


def states(connection: psycopg.Connection) -> dict[str, int]:
    return dict(connection.execute("select state, count(*) from dtsched.jobs group by state").fetchall())


async def until_ended(connection: psycopg.Connection, *job_ids: int, seconds: float = PATIENCE_SECONDS) -> None:
    """Until these jobs, or all when none are named, have ended."""
    left: LiteralString = """select count(*) from dtsched.jobs
        where state not in ('completed', 'failed', 'cancelled') and (%s::bigint[] = '{}' or id = any (%s))"""
    ids = list(job_ids)
    await until(lambda: one(connection, left, ids, ids) == 0, seconds=seconds)

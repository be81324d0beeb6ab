"""A job that is superseded while it runs: its handler is told at once, and the new job runs in its place."""

from __future__ import annotations

import asyncio
import contextlib
import time

import psycopg

from dtsched import App, Context
from dtsched.maintenance.forget import Forget
from dtsched.maintenance.link import Link
from dtsched.store import open_store
from tests.conftest import Connect
from tests.runtime.workers import running_worker


async def test_a_superseded_handler_is_told_within_a_second_and_the_new_job_completes(
    database: str, connect: Connect
) -> None:
    app = App(database)
    began: asyncio.Queue[int] = asyncio.Queue()
    told: asyncio.Queue[float] = asyncio.Queue()

    @app.task(unique=("document",), on_conflict="supersede")
    async def index(ctx: Context, document: int, version: int) -> int:
        began.put_nowait(version)
        try:
            await asyncio.sleep(30 if version == 1 else 0)
        except asyncio.CancelledError:
            told.put_nowait(time.monotonic())
            raise
        return version

    async with app, running_worker(app, database, lease=30.0):
        old = await index.submit(7, 1)
        assert await asyncio.wait_for(began.get(), 10) == 1
        submitted = time.monotonic()
        new = await index.submit(7, 2)
        assert new.outcome == "superseded"
        assert await asyncio.wait_for(told.get(), 10) - submitted < 1
        assert await new.result(timeout=10) == 2
        assert (await app.client.wait(old.id, timeout=10)).state == "cancelled"
    assert connect().execute("select * from dtsched.keys").fetchall() == []
    assert connect().execute("select * from dtsched.check()").fetchall() == []


async def test_a_worker_lets_expired_keys_go(database: str, connect: Connect) -> None:
    connection: psycopg.Connection = connect()
    connection.execute("insert into dtsched.keys values ('old', 1, now() - interval '1 s'), ('new', 2, 'infinity')")
    link = Link(lambda: open_store(database, role="maintenance"))
    done = await Forget(link).run_once()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(link.close)
    assert (done.count, done.pause_seconds > 0) == (1, True)
    assert connection.execute("select key from dtsched.keys").fetchall() == [("new",)]

"""A job that is superseded while it runs: its handler is told at once, and the new job runs in its place."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg

from dtsched import App, Context
from dtsched.maintenance.forget import Forget
from dtsched.maintenance.link import Link
from dtsched.store import open_store
from tests.conftest import Connect
from tests.runtime.workers import running_worker
from tests.support.patience import NEVER_SECONDS, PATIENCE_SECONDS


async def test_a_superseded_handler_is_told_at_once_and_the_new_job_completes(database: str, connect: Connect) -> None:
    app = App(database)
    began: asyncio.Queue[int] = asyncio.Queue()
    told = asyncio.Event()

    @app.task(unique=("document",), on_conflict="supersede")
    async def index(ctx: Context, document: int, version: int) -> int:
        began.put_nowait(version)
        try:
            await asyncio.sleep(NEVER_SECONDS if version == 1 else 0)
        except asyncio.CancelledError:
            told.set()
            raise
        return version

    async with app, running_worker(app, database, lease=NEVER_SECONDS):
        old = await index.submit(7, 1)
        assert await asyncio.wait_for(began.get(), PATIENCE_SECONDS) == 1
        new = await index.submit(7, 2)
        assert new.outcome == "superseded"
        await asyncio.wait_for(told.wait(), PATIENCE_SECONDS)
        assert await new.result(timeout=PATIENCE_SECONDS) == 2
        assert (await app.client.wait(old.id, timeout=PATIENCE_SECONDS)).state == "cancelled"
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

"""Lines that fall silent: no answer comes, and no end either. Numbers are the catalogue's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from dtsched import App
from dtsched.connections import connect_sync
from dtsched.errors import DatabaseUnreachable
from dtsched.maintenance.link import Link
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings
from dtsched.store import SyncStore, open_store
from tests.faults.proxy import Proxy, proxy_before
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended
from tests.support.patience import PATIENCE_SECONDS, within

Connect = Callable[[], psycopg.Connection]


# A claim that has reached the server may take the next job and lose its answer, which costs 15 s and an attempt.
CLAIMER_SLEEPS: LiteralString = """select state = 'idle' and clock_timestamp() - state_change > interval '0.05 s'
    from pg_stat_activity where datname = current_database() and application_name = 'dtsched claimer'"""


@pytest.fixture
async def proxy(database: str) -> AsyncGenerator[Proxy]:
    async with proxy_before(database) as proxy:
        yield proxy


def noting_app() -> App:
    app = App()

    @app.task
    async def note() -> None: ...

    return app


async def test_f41_a_worker_whose_lines_all_fall_silent_keeps_its_lease_and_comes_back(
    proxy: Proxy, connect: Connect
) -> None:
    connection = connect()
    async with running_worker(noting_app(), proxy.dsn, lease=5.0):
        await until_ended(connection, submit(connection, "note"))
        identity = one(connection, "select id from dtsched.workers")
        await until(lambda: one(connection, CLAIMER_SLEEPS) is True)
        proxy.silence()
        with within(25):
            await until_ended(connection, submit(connection, "note"))
    assert connection.execute("select distinct worker_id, attempt from dtsched.jobs").fetchall() == [(identity, 1)]


async def test_f41_a_deaf_worker_does_not_wait_for_the_claim_that_is_under_way(proxy: Proxy, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), proxy.dsn, deaf_seconds=1.0):
        await until_ended(connection, submit(connection, "note"))
        await until(lambda: one(connection, CLAIMER_SLEEPS) is True)
        proxy.silence("claimer")
        with within(10):
            await until_ended(connection, submit(connection, "note"))


@pytest.mark.parametrize("for_good", [False, True])
async def test_f41_silent_lines_do_not_keep_a_worker_from_ending(
    proxy: Proxy, connect: Connect, for_good: bool
) -> None:
    app = App()
    started = asyncio.Event()

    @app.task
    async def nap() -> None:
        started.set()
        await asyncio.sleep(1)

    connection = connect()
    worker = Worker(app.registry, Settings(dsn=proxy.dsn, lease=5.0), {"default": 1}, grace_seconds=5)
    run = asyncio.create_task(worker.run())
    submit(connection, "nap")
    await started.wait()  # before that the answer to the claim may be what falls silent
    proxy.silence_for_good() if for_good else proxy.silence()
    worker.stop()
    with within(20):
        await run
    if not for_good:
        assert connection.execute("select state, attempt from dtsched.jobs").fetchall() == [("completed", 1)]


async def test_f10_a_job_whose_claim_is_answered_after_its_worker_was_told_to_stop_has_not_begun(
    proxy: Proxy, connect: Connect
) -> None:
    connection = connect()
    async with running_worker(noting_app(), proxy.dsn, lease=30.0) as worker:
        proxy.hold(b"the answer that is late")
        job = submit(connection, "note", correlation_id="the answer that is late")
        await proxy.held.wait()
        assert state_of(connection, job) == "running"
        worker.stop()
        await asyncio.sleep(0.2)  # long enough for a worker that owes nothing to leave
        proxy.let_go()
    assert connection.execute("select state, attempt, crash_count from dtsched.jobs").fetchall() == [("ready", 0, 0)]
    assert one(connection, "select count(*) from dtsched.leases") == 0
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f41_a_step_ends_when_no_answer_comes(proxy: Proxy) -> None:
    link = Link(lambda: open_store(proxy.dsn, role="test"), answer_seconds=0.3)
    async with link.store() as store:
        await store.probe()
    await asyncio.sleep(0.5)  # the bound is that of one step, not of the connection
    async with link.store() as store:
        await store.probe()
    proxy.silence()
    with within(5), pytest.raises(DatabaseUnreachable):
        async with asyncio.timeout(PATIENCE_SECONDS), link.store() as store:
            await store.probe()
    async with link.store() as store:
        await store.probe()
    assert link.opened == 2
    await link.close()


async def test_f41_a_renewal_ends_when_no_answer_comes(proxy: Proxy) -> None:
    store = SyncStore(await asyncio.to_thread(connect_sync, proxy.dsn, role="test"), answer_seconds=0.3)
    renewal = await asyncio.to_thread(store.renew, uuid4())
    assert not renewal.alive
    await asyncio.sleep(0.5)  # the bound is that of one renewal, not of the connection
    await asyncio.to_thread(store.renew, uuid4())
    proxy.silence()
    with within(5), pytest.raises(DatabaseUnreachable):
        await asyncio.to_thread(store.renew, uuid4())
    store.close()

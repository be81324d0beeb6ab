"""Waiting for jobs: told at once over one connection, and right also when nothing is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator

import psycopg
import pytest

from dtsched.client import Client
from dtsched.connections import is_outage
from dtsched.embedded import Cluster
from dtsched.errors import DatabaseUnreachable, DtschedError, NotFound
from dtsched.jobs import NewJob
from tests.conftest import Connect
from tests.runtime.workers import one, until
from tests.sql.sessions import Worker
from tests.support.patience import NEVER_SECONDS, PATIENCE_SECONDS, five_tries, timely

LISTENING = """select count(*) from pg_stat_activity
    where position('listener' in application_name) > 0 and datname = current_database()"""
WATCHING = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock'"


@pytest.fixture
async def client(database: str) -> AsyncGenerator[Client]:
    async with Client(database) as client:
        yield client


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


async def submit(client: Client, count: int = 1) -> list[int]:
    return [job.id for job in await client.submit_many([NewJob(task="echo") for _ in range(count)])]


async def test_a_waiter_is_told_by_notification(
    client: Client, worker: Worker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtsched.waiting._LISTENING_PAUSE_SECONDS", NEVER_SECONDS)
    connection = connect()
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await until(lambda: one(connection, WATCHING) == 2)
    await asyncio.sleep(1.3)  # by now it looks by itself only now and then
    worker.claim()
    worker.finish(job_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await waiting).state == "completed"


async def test_any_number_of_waiters_share_one_connection(client: Client, worker: Worker, connect: Connect) -> None:
    connection = connect()
    jobs = await submit(client, 1000)
    waiting = [asyncio.create_task(client.wait(job_id)) for job_id in jobs for _ in range(2)]
    await until(lambda: one(connection, WATCHING) >= 257)
    assert one(connection, LISTENING) == 1
    for _ in range(10):
        worker.finish(*worker.claim())
    assert {job.state for job in await asyncio.gather(*waiting)} == {"completed"}
    await until(lambda: one(connection, WATCHING) == 0)


async def test_a_waiter_finds_out_also_where_nothing_is_told(client: Client, worker: Worker) -> None:
    worker.run("set dtsched.notify = off")
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await asyncio.sleep(0.1)
    worker.claim()
    worker.finish(job_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await waiting).state == "completed"


async def test_a_lost_listener_is_opened_again(client: Client, worker: Worker, connect: Connect) -> None:
    connection = connect()
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await until(lambda: one(connection, WATCHING) == 2)
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%listener%'"
    )
    await until(lambda: one(connection, WATCHING) == 0)
    await until(lambda: one(connection, WATCHING) == 2)
    worker.claim()
    worker.finish(job_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await waiting).state == "completed"


async def test_whoever_waited_long_enough_leaves_nothing_behind(client: Client, connect: Connect) -> None:
    (job_id,) = await submit(client)
    with pytest.raises(TimeoutError, match=r"still ready after 0\.1 s"):
        await client.wait(job_id, timeout=0.1)
    assert client.waiting._awaited == {}  # pyright: ignore[reportPrivateUsage]
    connection = connect()
    await until(lambda: one(connection, WATCHING) == 0)


async def test_a_job_that_is_deleted_while_it_is_waited_for_is_not_found(client: Client, worker: Worker) -> None:
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await asyncio.sleep(0.1)
    worker.run("select dtsched.delete(%s)", job_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(NotFound):
            await waiting


@pytest.mark.parametrize("seconds", [0.0, 0.2], ids=["who asks first", "who waits"])
async def test_closing_tells_whoever_waits(database: str, seconds: float) -> None:
    client = Client(database)
    await client.open()
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await asyncio.sleep(seconds)
    await client.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(DtschedError, match="closed"):
            await waiting


async def test_a_client_that_is_opened_again_waits_again(client: Client, worker: Worker) -> None:
    await client.close()
    await client.open()
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    worker.claim()
    worker.finish(job_id)
    assert (await waiting).state == "completed"


async def test_nonsense_that_somebody_sends_is_ignored(client: Client, worker: Worker, connect: Connect) -> None:
    connection: psycopg.Connection = connect()
    (job_id,) = await submit(client)
    waiting = asyncio.create_task(client.wait(job_id))
    await until(lambda: one(connection, WATCHING) == 2)
    for payload in ("", ",", "-1", "1e9", "99999999999999999999", "²", str(job_id)):
        connection.execute("select pg_notify('dtsched_done', %s)", (payload,))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    worker.claim()
    worker.finish(job_id)
    assert (await waiting).state == "completed"


async def test_whoever_waits_when_the_database_goes_away_is_told(cluster: Cluster) -> None:
    async with Client(cluster.dsn) as client:
        (job_id,) = await submit(client)
        waiting = asyncio.create_task(client.wait(job_id))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(cluster.stop, "immediate")
        async with asyncio.timeout(PATIENCE_SECONDS):
            (told,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(told, Exception)
        assert is_outage(told)
        await asyncio.to_thread(cluster.start)
        with pytest.raises(TimeoutError):
            await client.wait(job_id, timeout=0.2)


@five_tries
async def test_thousands_who_wait_ask_in_turns(database: str, worker: Worker) -> None:
    """However long that takes: it is the others of them that hold the connections."""
    async with Client(database, pool_size=2, wait_seconds=0.05) as client:
        jobs = await submit(client, 300)
        waiting = [asyncio.create_task(client.wait(job_id)) for job_id in jobs]
        await asyncio.sleep(0)
        for _ in range(3):
            worker.finish(*worker.claim())
        told = await asyncio.gather(*waiting, return_exceptions=True)
    timely(not any(isinstance(job, DatabaseUnreachable) for job in told), told)
    assert {job if isinstance(job, BaseException) else job.state for job in told} == {"completed"}


async def test_who_waits_for_a_turn_that_does_not_come_is_told(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question may take as long as a statement may: one after the other they would take minutes."""
    monkeypatch.setattr("dtsched.client.TURN_SECONDS", 0.2)
    async with Client(database, pool_size=2, statement_ms=1000) as client:
        jobs = await submit(client, 400)
        with connect() as holder, holder.transaction():
            holder.execute("lock table dtsched.jobs in access exclusive mode")
            async with asyncio.timeout(PATIENCE_SECONDS):
                told = await asyncio.gather(*(client.wait(job_id) for job_id in jobs), return_exceptions=True)
    assert sum(isinstance(error, DatabaseUnreachable) for error in told) >= len(jobs) - 10, told

"""F46: behind PgBouncer in transaction mode each transaction may come to another session, and none is ours alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched import App, migrations
from dtsched.connections import connect as open_ours
from dtsched.connections import is_busy, is_transient
from dtsched.errors import DatabaseUnreachable
from dtsched.jobs import NewJob
from dtsched.pool import SyncPool
from dtsched.store import Store
from dtsched.torture.pgbouncer import PgBouncer, pgbouncer, program
from tests.api.processes import ApiProcess, served
from tests.runtime.workers import one, running_worker, states, submit, until_ended
from tests.support.patience import until_async, within

Connect = Callable[[], psycopg.Connection]

pytestmark = pytest.mark.skipif(program() is None, reason="Debian's package pgbouncer is not installed")

LOCKS = "select count(*) from pg_locks where locktype = 'advisory'"
JOBS = "select state, attempt, count(*) from dtsched.jobs group by 1, 2"


@pytest.fixture(params=["refuses", "ignores"])
def pooler(request: pytest.FixtureRequest, database: str) -> Generator[PgBouncer]:
    """What it does with the startup parameter `options`; to refuse it is what it does unless told otherwise."""
    with pgbouncer(database, size=5, ignored="options" if request.param == "ignores" else "") as pooler:
        yield pooler


@pytest.fixture
def pooled_api(pooler: PgBouncer, tmp_path: Path) -> Generator[ApiProcess]:
    """With all rights: those of a server would come as options, too."""
    with served(pooler.dsn, tmp_path / "api.log", as_superuser=True) as api:
        yield api


@pytest.fixture
def forgiving(database: str) -> Generator[PgBouncer]:
    with pgbouncer(database, size=3, ignored="options") as pooler:
        yield pooler


@asynccontextmanager
async def ours(
    pooler: PgBouncer, *, timeout_ms: int | None = None, lock_ms: int | None = None
) -> AsyncGenerator[Store]:
    store = Store(await open_ours(pooler.dsn, role="test", timeout_ms=timeout_ms, lock_ms=lock_ms))
    yield store
    await store.close()


def noting_app() -> App:
    app = App()

    @app.task
    async def note() -> None:
        await asyncio.sleep(0.01)

    return app


async def test_f46_two_workers_run_all_jobs_once_and_leave_no_lock(pooler: PgBouncer, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), pooler.dsn), running_worker(noting_app(), pooler.dsn):
        for _ in range(5):
            for _ in range(20):
                submit(connection, "note")
            await asyncio.sleep(0.2)  # between, they find nothing and would go hungry
        await until_ended(connection)
        await until_async(lambda: one(connection, LOCKS) == 0)  # a claim holds one for an instant
    assert connection.execute(JOBS).fetchall() == [("completed", 1, 100)]
    assert one(connection, LOCKS) == 0
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f46_workers_survive_its_reload_its_restart_and_its_kill(forgiving: PgBouncer, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), forgiving.dsn):
        await until_ended(connection, submit(connection, "note"))
        for act in (forgiving.reload, forgiving.stop, forgiving.kill):
            for _ in range(10):
                submit(connection, "note")
            await asyncio.to_thread(act)
            await asyncio.to_thread(forgiving.start)
        await until_ended(connection)
    assert states(connection) == {"completed": 31}
    assert one(connection, LOCKS) == 0
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f46_a_statement_brings_its_bounds_along_and_leaves_none_behind(
    pooler: PgBouncer, connect: Connect
) -> None:
    with connect().transaction() as held:
        held.connection.execute("select dtsched.pause('mail')")
        async with ours(pooler, lock_ms=200, timeout_ms=30_000) as store:
            with pytest.raises(psycopg.Error) as caught:
                await store.pause("mail")
            assert is_busy(caught.value)
            await store.probe()
        async with ours(pooler, timeout_ms=200) as store:
            with pytest.raises(psycopg.Error) as caught:
                await store.pause("mail")
            assert caught.value.sqlstate == "57014"
            assert is_transient(caught.value)
            async with store.transaction():
                assert await store.pause("others") is True
                assert await store.pause("others") is False
    with psycopg.connect(pooler.dsn, autocommit=True, prepare_threshold=None) as other:
        for name in ("lock_timeout", "statement_timeout"):
            assert other.execute(f"select current_setting('{name}')").fetchone() == ("0",)


async def test_f46_what_fails_inside_of_a_transaction_leaves_nothing(pooler: PgBouncer, connect: Connect) -> None:
    async with ours(pooler) as store:
        with suppress(ZeroDivisionError):
            async with store.transaction():
                await store.submit_many([NewJob(task="note")], check_tasks=False)
                raise ZeroDivisionError
        assert store.usable
        await store.submit_many([NewJob(task="note")], check_tasks=False)
    assert one(connect(), "select count(*) from dtsched.jobs") == 1


def test_f46_threads_submit_through_it(pooler: PgBouncer, connect: Connect) -> None:
    pool = SyncPool(pooler.dsn, role="test")

    def submit_some(number: int) -> None:
        for _ in range(10):
            pool.submit_many([NewJob(task="note", args={"number": number})])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(submit_some, range(8)))
    pool.close()
    assert one(connect(), "select count(*) from dtsched.jobs") == 80


def test_f46_a_schema_is_laid_through_it(empty_database: str) -> None:
    with pgbouncer(empty_database) as pooler:
        assert migrations.up(pooler.dsn).current
        assert migrations.status(pooler.dsn).current


async def test_f46_the_api_answers_waits_and_says_that_nothing_can_be_watched(
    pooler: PgBouncer, pooled_api: ApiProcess, connect: Connect
) -> None:
    async with httpx.AsyncClient(base_url=pooled_api.url, timeout=30) as http, running_worker(noting_app(), pooler.dsn):
        answers = await asyncio.gather(*(http.post("/v1/jobs", json={"task": "note"}) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        with within(5):
            waited = await http.get(f"/v1/jobs/{answers[-1].json()['id']}/result", headers={"Prefer": "wait=10"})
        assert waited.status_code == 200, waited.text
        async with http.stream("GET", "/v1/events") as stream:  # the server may not know yet
            assert stream.status_code in (200, 503)
            await stream.aread()
        told = await http.get("/v1/events")
        assert told.status_code == 503
        assert "connection pooler" in told.json()["detail"]
    assert one(connect(), LOCKS) == 0


async def test_f46_what_a_user_sets_in_its_dsn_is_refused_by_name(database: str) -> None:
    with pgbouncer(database) as pooler, pytest.raises(DatabaseUnreachable, match="unsupported startup parameter"):
        await open_ours(make_conninfo(pooler.dsn, options="-c work_mem=8MB"), role="test")


def test_without_a_pooler_statements_are_prepared_and_bounds_are_the_sessions(database: str) -> None:
    async def look() -> tuple[object, ...]:
        connection = await open_ours(database, role="test", timeout_ms=1234)
        try:
            assert connection.bounds is None
            assert connection.prepare_threshold is not None
            row = await (await connection.execute("show statement_timeout")).fetchone()
            assert row is not None
            return row
        finally:
            await connection.close()

    assert asyncio.run(look()) == ("1234ms",)

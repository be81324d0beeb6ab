"""What a server sees to for workers that only claim, finish and renew, over SQL or HTTP: nothing else runs here."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing

import psycopg
import pytest

from tests.api.conftest import Serve
from tests.runtime.workers import one, state_of, submit, until
from tests.sql.sessions import Worker
from tests.sql.test_steps import park

Connect = Callable[[], psycopg.Connection]

AGED = "update dtsched.workers set unbroken_since = unbroken_since - interval '20 s' where id = %s"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_LEASE", "1s")  # it judges every fifth of that
    monkeypatch.setenv("DTSCHED_POLL", "100ms")


@pytest.fixture
def open_worker(database: str) -> Generator[Callable[[], Worker]]:
    with ExitStack() as sessions:
        yield lambda: sessions.enter_context(closing(Worker(database, lease="20 s")))


async def test_a_server_alone_keeps_deadlines_delivers_events_and_prunes(
    serve_api: Serve, database: str, connect: Connect, open_worker: Callable[[], Worker]
) -> None:
    worker = open_worker()
    connection, holder = connect(), connect()
    connection.execute("""select dtsched.set_retention('{"cancelled": 0}')""")
    sleeper = submit(connection, "sleeper")
    assert worker.claim() == [sleeper]
    worker.run("select dtsched.await_event(%s, %s, 'paid', 'paid:42')", worker.id, worker.leases[sleeper])
    assert park(worker, sleeper, step="paid")
    doomed = submit(connection, "doomed")
    serve_api(database)
    late = submit(connection, "late", expires_in="0.3 s")
    with holder.transaction():
        holder.execute("select from dtsched.jobs where id = %s for update", (sleeper,))
        connection.execute("select dtsched.emit('paid:42')")
        assert one(connection, "select count(*) from dtsched.events where due") == 1
    connection.execute("select dtsched.cancel(%s)", (doomed,))
    await until(lambda: state_of(connection, late) == "failed")
    await until(lambda: state_of(connection, sleeper) == "ready")
    await until(lambda: one(connection, "select count(*) from dtsched.jobs where id = %s", doomed) == 0)


async def test_a_server_takes_jobs_back_from_lost_and_stuck_workers_in_the_name_of_a_witness_and_not_without(
    serve_api: Serve, database: str, connect: Connect, open_worker: Callable[[], Worker]
) -> None:
    connection = connect()
    dead, stuck = open_worker(), open_worker()
    first = submit(connection, "first")
    assert dead.claim() == [first]
    second = submit(connection, "second", timeout="1 s")
    assert stuck.claim() == [second]
    connection.execute("update dtsched.workers set expires_at = now() - interval '1 s' where id = %s", (dead.id,))
    connection.execute("update dtsched.leases set deadline = now() - interval '6 s' where job_id = %s", (second,))
    serve_api(database)
    waiting = submit(connection, "waiting", expires_in="0.1 s")
    await until(lambda: state_of(connection, waiting) == "failed")
    assert (state_of(connection, first), state_of(connection, second)) == ("running", "running")
    connection.execute(AGED, (stuck.id,))  # alive: it renews, though it does not end what it runs
    await until(lambda: state_of(connection, first) == "ready")
    await until(lambda: state_of(connection, second) != "running")
    assert connection.execute("select * from dtsched.check()").fetchall() == []

"""Workers that are killed, frozen, blocked and stopped while they hold jobs. Numbers are those of the fault
catalogue."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.runtime.handlers import recorded
from tests.runtime.workers import one, state_of, states, submit, until, until_ended, worker_process
from tests.support.patience import PATIENCE_SECONDS, within

Connect = Callable[[], psycopg.Connection]

LEASE_SECONDS = 1.0
"""That of worker_process(); rescue runs every fifth of it, and needs a witness that has renewed for one lease."""


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events"


def workers(connection: psycopg.Connection) -> int:
    return one(connection, "select count(*) from dtsched.workers where lost_at is null")


async def test_f01_the_job_of_a_killed_worker_runs_again(database: str, connect: Connect, events: Path) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 60})
    with worker_process(database) as first:
        await until(lambda: len(recorded(events)) == 1)
        with worker_process(database):
            await until(lambda: workers(connection) == 2)
            with within(15):
                first.kill()
                await until_ended(connection, job)
    assert recorded(events) == [f"{job} begins attempt 1", f"{job} begins attempt 2", f"{job} ends attempt 2"]
    assert connection.execute("select outcome, error_type from dtsched.attempts").fetchall() == [
        ("crash", "WorkerLost")
    ]
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f03_a_worker_killed_with_prefetched_jobs_loses_none_of_them(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    connection.execute(
        "insert into dtsched.jobs (task, args) select 'note', '{\"n\": 1}' from generate_series(1, 20000)"
    )
    with worker_process(database, queues="default:2") as first:
        await until(lambda: states(connection).get("completed", 0) > 500)
        first.kill()
        first.wait()
    held = one(connection, "select count(*) from dtsched.leases")
    with worker_process(database):
        await until_ended(connection)
    assert states(connection) == {"completed": 20000}
    assert one(connection, "select count(*) from dtsched.jobs where attempt = 2") == held
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f05_a_frozen_worker_cannot_finish_late_and_registers_anew(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 6})
    with worker_process(database) as zombie:
        await until(lambda: len(recorded(events)) == 1)
        identity = one(connection, "select id from dtsched.workers")
        zombie.send_signal(signal.SIGSTOP)
        with worker_process(database) as other:
            await until_ended(connection, job)
            other.terminate()
            other.wait(PATIENCE_SECONDS)
        assert one(connection, "select worker_id from dtsched.jobs") != identity
        zombie.send_signal(signal.SIGCONT)
        await until(lambda: workers(connection) == 1)
        assert one(connection, "select id from dtsched.workers where lost_at is null") != identity
        new = submit(connection, "note", {"n": 1})
        await until_ended(connection, new)
    assert one(connection, "select result from dtsched.job(%s)", job) == 2
    assert one(connection, "select attempt from dtsched.jobs where id = %s", job) == 2
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f06_a_worker_frozen_for_less_than_its_lease_loses_nothing(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 3})
    with worker_process(database, lease="3s") as worker, worker_process(database, queues="other", lease="3s"):
        await until(lambda: len(recorded(events)) == 1)
        worker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.2)
        worker.send_signal(signal.SIGCONT)
        await until_ended(connection, job)
    assert recorded(events) == [f"{job} begins attempt 1", f"{job} ends attempt 1"]


async def test_f07_a_blocked_event_loop_does_not_lose_its_leases(database: str, connect: Connect, events: Path) -> None:
    connection = connect()
    job = submit(connection, "block_the_loop", {"path": str(events), "seconds": 4 * LEASE_SECONDS})
    with worker_process(database), worker_process(database):
        await until_ended(connection, job)
    assert recorded(events) == [f"{job} begins attempt 1", f"{job} ends attempt 1"]
    assert one(connection, "select attempt from dtsched.jobs") == 1


async def test_f10_sigterm_lets_running_jobs_end_and_hands_back_what_never_started(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    for _ in range(500):
        submit(connection, "note", {"n": 1}, priority=10)
    for _ in range(20):
        submit(connection, "always_linger", {"path": str(events), "seconds": 1.5})
    with worker_process(database, queues="default:2") as worker:
        await until(lambda: any("begins" in event for event in recorded(events)))
        worker.terminate()
        assert worker.wait(PATIENCE_SECONDS) == 0
    begun = sum("begins" in event for event in recorded(events))
    assert sum("ends" in event for event in recorded(events)) == begun
    assert states(connection) == {"completed": 500 + begun, "ready": 20 - begun}
    assert one(connection, "select sum(attempt) from dtsched.jobs where state = 'ready'") == 0
    assert one(connection, "select count(*) from dtsched.leases") == 0
    assert workers(connection) == 0


async def test_f10_a_second_sigterm_ends_the_grace(database: str, connect: Connect, events: Path) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 60})
    with worker_process(database) as worker:
        await until(lambda: len(recorded(events)) == 1)
        worker.terminate()
        await asyncio.sleep(0.5)
        assert worker.poll() is None
        worker.terminate()
        with within(10):
            assert worker.wait(PATIENCE_SECONDS) == 0
    assert state_of(connection, job) == "ready"
    assert one(connection, "select attempt from dtsched.jobs") == 1
    assert one(connection, "select count(*) from dtsched.leases") == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_f10_the_grace_ends_by_itself_and_what_runs_is_handed_back_as_started(
    database: str, connect: Connect, events: Path, stop: signal.Signals
) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 60})
    with worker_process(database, grace="500ms") as worker:
        await until(lambda: len(recorded(events)) == 1)
        worker.send_signal(stop)
        with within(10):
            assert worker.wait(PATIENCE_SECONDS) == 0
    assert recorded(events) == [f"{job} begins attempt 1", f"{job} is told to stop"]
    assert state_of(connection, job) == "ready"
    assert one(connection, "select crash_count from dtsched.jobs") == 1


async def test_f11_a_handler_that_never_stops_does_not_keep_the_process(
    database: str, connect: Connect, events: Path
) -> None:
    connection = connect()
    submit(connection, "never_stop", {"path": str(events)})
    with worker_process(database, grace="200ms") as worker:
        await until(lambda: len(recorded(events)) == 1)
        worker.terminate()
        with within(15):
            worker.wait(PATIENCE_SECONDS)
    assert states(connection) == {"ready": 1}
    assert one(connection, "select count(*) from dtsched.leases") == 0


async def test_f14_workers_of_the_same_name_are_not_mixed_up(database: str, connect: Connect, events: Path) -> None:
    connection = connect()
    job = submit(connection, "linger", {"path": str(events), "seconds": 4})
    with worker_process(database) as worker:
        await until(lambda: len(recorded(events)) == 1)
        assert worker.poll() is None
        for _ in range(2):
            with worker_process(database, queues="other") as namesake:
                await until(lambda: workers(connection) == 2)
                namesake.terminate()
                namesake.wait(PATIENCE_SECONDS)
        await until_ended(connection, job)
    assert one(connection, "select count(distinct name) from dtsched.workers") <= 1
    assert recorded(events) == [f"{job} begins attempt 1", f"{job} ends attempt 1"]


def test_a_worker_without_a_database_says_so_and_ends(database: str) -> None:
    with worker_process("postgresql://nobody@127.0.0.1:1/none") as worker:
        _, errors = worker.communicate(timeout=PATIENCE_SECONDS)
    assert worker.returncode == 6
    assert "cannot be reached" in errors
    assert "Traceback" not in errors

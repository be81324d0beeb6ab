"""The database stops, starts, drops connections and holds locks while workers hold jobs. Numbers are the
catalogue's."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from dtsched import App, Context
from dtsched.embedded import Cluster
from dtsched.errors import SchemaMissing
from dtsched.outage import Recovery
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings
from tests.runtime.handlers import recorded
from tests.runtime.workers import (
    one,
    running_worker,
    state_of,
    states,
    submit,
    until,
    until_ended,
    worker_process,
)
from tests.support.patience import PATIENCE_SECONDS, five_tries, within

Connect = Callable[[], psycopg.Connection]

OURS: LiteralString = """select count(*) from pg_stat_activity
    where datname = current_database() and starts_with(application_name, 'dtsched')"""
TERMINATE = """select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name like %s"""


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events"


def noting_app(*, seconds: float = 0) -> App:
    app = App()

    @app.task
    async def note(n: int) -> int:
        await asyncio.sleep(seconds)
        return n

    return app


def gated_app(gate: asyncio.Event) -> App:
    app = App()

    @app.task
    async def note(n: int) -> int:
        await gate.wait()
        return n

    return app


async def test_f17_jobs_survive_the_connections_of_their_worker(database: str, connect: Connect) -> None:
    connection = connect()
    connection.execute(
        """insert into dtsched.jobs (task, args, max_attempts)
        select 'note', jsonb_build_object('n', n), 100 from generate_series(1, 2000) n"""
    )
    async with running_worker(noting_app(seconds=0.002), database, {"default": 20}, lease=1.0):
        while states(connection).get("completed", 0) < 1500:
            connection.execute(TERMINATE, ("dtsched%",))
            await asyncio.sleep(0.2)
        await until_ended(connection)
    # the crash cap bounds how often a claim's answer may be lost, and here they are lost on purpose
    assert states(connection).get("completed", 0) >= 1990
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_f19_a_crash_of_the_database_loses_no_job_and_ends_no_worker(cluster: Cluster, events: Path) -> None:
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        lingering = submit(connection, "linger", {"path": str(events), "seconds": 4})
        jobs = [submit(connection, "note", {"n": n}) for n in range(200)]
    with worker_process(cluster.dsn, lease="20s") as worker:
        await until(lambda: len(recorded(events)) == 1)
        cluster.stop("immediate")
        await asyncio.sleep(1)
        cluster.start()
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            await until_ended(connection, lingering, *jobs)
            await until_ended(connection, submit(connection, "note", {"n": 1}))
            assert states(connection) == {"completed": 202}
            # a claim that the crash left without an answer is handed back, and costs its jobs an attempt
            assert one(connection, "select attempt from dtsched.jobs where id = %s", lingering) == 1
            assert connection.execute("select * from dtsched.check()").fetchall() == []
        assert worker.poll() is None
        worker.terminate()
        _, log = worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert len(log.splitlines()) < 20, log  # a line for each connection that met the outage, and one when it was over
    assert "Traceback" not in log


async def test_f22_who_finds_the_database_again_tells_all_that_wait_for_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """But for the renewer nobody would try again for minutes."""
    monkeypatch.setattr("dtsched.outage.SHORTEST_SECONDS", 300.0)
    monkeypatch.setattr("dtsched.outage.LONGEST_SECONDS", 300.0)
    app, stopped = App(), asyncio.Event()

    @app.task
    async def note(n: int) -> int:
        return n

    @app.task
    async def step(ctx: Context) -> object:
        await stopped.wait()
        return await ctx.step("one", int)

    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        waiting = submit(connection, "step")
        async with running_worker(app, cluster.dsn, lease=2.0):
            await until(lambda: state_of(connection, waiting) == "running")
            cluster.stop("immediate")
            stopped.set()
            await until(lambda: all(f"{who}: " in caplog.text for who in ("claimer", "listener", "maintenance")))
            await until(lambda: f"job {waiting} waits" in caplog.text)
            cluster.start()
            with psycopg.connect(cluster.dsn, autocommit=True) as connection:
                await until_ended(connection, waiting, submit(connection, "note", {"n": 1}))
                assert one(connection, "select max(attempt) from dtsched.jobs") == 1


async def test_what_was_announced_during_a_try_spares_the_pause_after_it() -> None:
    recovery = Recovery()
    since = recovery.count
    recovery.announce()
    with within(20):
        await recovery.wait(600, since=since)
    pause = asyncio.create_task(recovery.wait(600, since=recovery.count))
    await asyncio.sleep(0.01)
    assert not pause.done()
    recovery.announce()
    with within(20):
        await pause


async def test_f21_after_an_outage_longer_than_the_lease_the_living_keep_their_jobs(
    cluster: Cluster, events: Path
) -> None:
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        jobs = [submit(connection, "linger", {"path": str(events), "seconds": 6}) for _ in range(4)]
    with worker_process(cluster.dsn, queues="default:2"), worker_process(cluster.dsn, queues="default:2"):
        await until(lambda: len(recorded(events)) == 4)
        cluster.stop("immediate")
        await asyncio.sleep(3)
        cluster.start()
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            await until_ended(connection, *jobs)
            assert one(connection, "select max(attempt) from dtsched.jobs") == 1
    assert sum("begins" in event for event in recorded(events)) == 4


async def test_f18_a_worker_that_lost_only_its_listener_still_polls(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), database, poll=0.2):
        for _ in range(10):
            connection.execute(TERMINATE, ("dtsched listener",))
            await until_ended(connection, submit(connection, "note", {"n": 1}))


async def test_f31_a_locked_job_row_keeps_no_other_job_from_ending(database: str, connect: Connect) -> None:
    connection, holder = connect(), connect()
    held = asyncio.Event()
    async with running_worker(gated_app(held), database, {"default": 2}):
        locked = submit(connection, "note", {"n": 1})
        await until(lambda: state_of(connection, locked) == "running")
        with holder.transaction():
            holder.execute("select from dtsched.jobs where id = %s for update", (locked,))
            held.set()
            others = [submit(connection, "note", {"n": n}) for n in range(4)]
            with within(20):
                await until_ended(connection, *others)
            assert state_of(connection, locked) == "running"
        await until_ended(connection, locked)
    assert states(connection) == {"completed": 5}
    assert one(connection, "select max(attempt) from dtsched.jobs") == 1


async def test_f31_rows_that_somebody_holds_cost_the_other_jobs_no_time(database: str, connect: Connect) -> None:
    connection, holder = connect(), connect()
    locked = asyncio.Event()

    @five_tries
    async def note_quickly(n: int) -> None:
        with within(0.9):
            await until_ended(connection, submit(connection, "note", {"n": n}, queue="quick"))

    async with running_worker(gated_app(locked), database, {"default": 20, "quick": 1}):
        held = [submit(connection, "note", {"n": n}) for n in range(10)]
        await until(lambda: states(connection) == {"running": 10})
        with holder.transaction():
            holder.execute("select from dtsched.jobs where id = any (%s) for update", (held,))
            locked.set()
            await asyncio.sleep(2)
            for n in range(5):
                await note_quickly(n)
            assert [state_of(connection, job) for job in held] == ["running"] * 10
        with within(5):
            await until_ended(connection, *held)
    assert set(states(connection)) == {"completed"}
    assert one(connection, "select max(attempt) from dtsched.jobs") == 1


async def test_f31_children_that_somebody_holds_do_not_keep_other_jobs_from_running(
    database: str, connect: Connect
) -> None:
    connection, holder = connect(), connect()
    locked = asyncio.Event()
    async with running_worker(gated_app(locked), database, {"default": 20, "quick": 1}):
        parents = [submit(connection, "note", {"n": n}) for n in range(5)]
        children = [submit(connection, "note", {"n": 9}, depends_on=[parent]) for parent in parents]
        with holder.transaction():
            holder.execute("select dtsched.cancel(%s::bigint[])", (children,))
            locked.set()
            await asyncio.sleep(1)
            for n in range(5):
                with within(6):
                    await until_ended(connection, submit(connection, "note", {"n": n}, queue="quick"))
            assert [state_of(connection, parent) for parent in parents] == ["running"] * 5
        await until_ended(connection, *parents, *children)
    assert states(connection) == {"completed": 10, "cancelled": 5}


async def test_f31_a_waiting_job_whose_row_somebody_holds_is_handed_back_later(database: str, connect: Connect) -> None:
    connection, holder = connect(), connect()
    app = noting_app(seconds=1.5)

    @app.task
    async def quick() -> None: ...

    jobs = [submit(connection, "note", {"n": n}) for n in range(4)]
    for _ in range(300):  # they teach the worker to fetch ahead
        submit(connection, "quick", priority=10)
    async with running_worker(app, database, {"default": 1}, lease=1.0):
        await until(lambda: states(connection).get("running", 0) == 4)
        with holder.transaction():
            holder.execute("select from dtsched.jobs where id = %s for update", (jobs[3],))
            await until_ended(connection, *jobs[:3])
            await asyncio.sleep(1)
            assert state_of(connection, jobs[3]) == "running"
        await until_ended(connection, jobs[3])
    assert connection.execute("select attempt, crash_count from dtsched.jobs where id = %s", (jobs[3],)).fetchone() == (
        1,
        0,
    )


async def test_f31_a_worker_that_stops_waits_a_while_for_the_row_of_a_job_that_has_ended(
    database: str, connect: Connect
) -> None:
    connection, holder = connect(), connect()
    app, begun = App(), asyncio.Event()

    @app.task
    async def linger() -> None:
        begun.set()
        await asyncio.sleep(0.5)

    async with running_worker(app, database, grace_seconds=10) as worker:
        job = submit(connection, "linger", {})
        await begun.wait()
        with holder.transaction():
            holder.execute("select from dtsched.jobs where id = %s for update", (job,))
            worker.stop()
            await asyncio.sleep(3)
    assert connection.execute("select state, attempt, crash_count from dtsched.jobs").fetchall() == [
        ("completed", 1, 0)
    ]


async def test_f32_a_locked_table_does_not_keep_lost_jobs_from_being_rescued(database: str, connect: Connect) -> None:
    connection, holder = connect(), connect()
    async with running_worker(noting_app(), database, lease=1.0):
        await asyncio.sleep(1.5)  # only a worker that has renewed for a whole lease may judge others
        with holder.transaction():
            holder.execute("lock table dtsched.scheduled")
            await asyncio.sleep(1)
            connection.execute(
                "select dtsched.register_worker(%s, 'dead', '{aside}', '{note}', 1, '500 ms')", (uuid4(),)
            )
            job = submit(connection, "note", {"n": 1}, queue="aside")
            connection.execute("select dtsched.claim(id, 'aside', 1) from dtsched.workers where name = 'dead'")
            connection.execute("update dtsched.jobs set queue = 'default' where id = %s", (job,))
            with within(8):
                await until_ended(connection, job)


async def test_f33_idle_sessions_that_are_ended_come_back(database: str, connect: Connect) -> None:
    connection = connect()
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set idle_session_timeout = '300ms'").format(name))
    listener = (
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'dtsched listener'"
    )
    async with running_worker(noting_app(), database, lease=20.0, poll=600.0):
        await until(lambda: connection.execute(listener).fetchall())
        before = connection.execute(listener).fetchall()
        await asyncio.sleep(3)
        with within(10):
            await until_ended(connection, submit(connection, "note", {"n": 1}))
        assert connection.execute(listener).fetchall() == before


async def test_f35_a_database_that_defaults_to_serializable_is_no_obstacle(database: str, connect: Connect) -> None:
    connection = connect()
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set default_transaction_isolation = 'serializable'").format(name))
    async with running_worker(noting_app(), database):
        jobs = [submit(connection, "note", {"n": n}) for n in range(100)]
        await until_ended(connection, *jobs)
    assert states(connection) == {"completed": 100}


async def test_f42_a_claim_whose_answer_was_lost_is_handed_back(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), database, lease=2.0):
        await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
        # as if it had been claimed over a connection that broke before the answer came
        job = submit(connection, "note", {"n": 1}, queue="aside")
        connection.execute("select dtsched.claim((select id from dtsched.workers), 'aside', 1)")
        assert state_of(connection, job) == "running"
        connection.execute("update dtsched.jobs set queue = 'default' where id = %s", (job,))
        await until_ended(connection, submit(connection, "note", {"n": 2}))
        with within(20):
            await until_ended(connection, job)
    assert one(connection, "select attempt from dtsched.jobs where id = %s", job) == 2


async def test_f42_a_claim_that_commits_late_is_handed_back_by_an_idle_worker(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(noting_app(), database, lease=2.0):
        await until(lambda: one(connection, "select count(*) from dtsched.workers") == 1)
        await asyncio.sleep(1)
        # as if it had been claimed over a connection that broke long ago
        job = submit(connection, "note", {"n": 1}, queue="aside")
        connection.execute("select dtsched.claim((select id from dtsched.workers), 'aside', 1)")
        connection.execute("update dtsched.jobs set queue = 'default' where id = %s", (job,))
        with within(10):
            await until_ended(connection, job)


async def test_f42_an_outcome_that_is_sent_again_is_refused_and_changes_nothing(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    async with running_worker(noting_app(seconds=1), database, lease=60.0):
        job = submit(connection, "note", {"n": 1})
        await until(lambda: state_of(connection, job) == "running")
        # as if the worker had finished it over a connection that broke before the answer came
        connection.execute("select dtsched.finish(worker_id, array[id], '[7]') from dtsched.leases")
        with caplog.at_level(logging.WARNING):
            await until(lambda: "refused" in caplog.text)
    assert one(connection, "select result from dtsched.job(%s)", job) == 7


async def test_f29_a_deaf_worker_notices_and_reconnects(database: str, connect: Connect) -> None:
    connection = connect()
    connection.execute("set dtsched.notify = off")
    async with running_worker(noting_app(), database, poll=600.0, deaf_seconds=1.0):
        await asyncio.sleep(2)
        await until_ended(connection, submit(connection, "note", {"n": 1}))


async def test_while_the_database_is_away_a_worker_logs_little_and_spends_nothing(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_worker(noting_app(), cluster.dsn):
        await asyncio.sleep(0.5)
        cluster.stop("fast")
        caplog.clear()
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(4)
        assert (time.process_time() - cpu) / (time.monotonic() - began) < 0.1
        assert len(caplog.records) < 12
        cluster.start()


async def test_an_error_that_no_row_is_to_blame_for_costs_no_outcome(database: str, connect: Connect) -> None:
    connection = connect()
    runs: list[int] = []
    app = App()

    @app.task
    async def note(n: int) -> int:
        runs.append(n)
        await asyncio.sleep(0.3)
        return n

    async with running_worker(app, database):
        jobs = [submit(connection, "note", {"n": n}) for n in range(4)]
        await until(lambda: len(runs) == 4)
        connection.execute("alter function dtsched.finish_completed rename to away")
        await asyncio.sleep(1)
        connection.execute("alter function dtsched.away rename to finish_completed")
        await until_ended(connection, *jobs)
    assert sorted(runs) == [0, 1, 2, 3]
    assert states(connection) == {"completed": 4}


async def test_a_farewell_that_fails_is_logged_and_leaves_nothing_running(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    async with running_worker(noting_app(), database):
        await until_ended(connection, submit(connection, "note", {"n": 1}))
        connection.execute("alter function dtsched.deregister_worker rename to away")
    assert "could not deregister" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "dtsched-renewer"]
    await until(lambda: one(connection, OURS) == 0)  # the server takes a moment


async def test_a_worker_that_cannot_register_leaves_no_connection_behind(database: str, connect: Connect) -> None:
    connection = connect()
    connection.execute("alter function dtsched.register_worker rename to away")
    worker = Worker(noting_app().registry, Settings(dsn=database), {"default": 1})
    with pytest.raises(SchemaMissing):
        await worker.run()
    await until(lambda: one(connection, OURS) == 0)  # the server takes a moment


async def test_a_worker_that_cannot_start_its_renewer_ends_and_hands_back_what_it_took(
    database: str, connect: Connect
) -> None:
    connection = connect()
    worker = Worker(noting_app().registry, Settings(dsn=database), {"default": 1})
    threading.stack_size(1 << 47)  # more than there are addresses
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await asyncio.wait_for(worker.run(), PATIENCE_SECONDS)
    finally:
        threading.stack_size(0)
    assert one(connection, "select count(*) from dtsched.workers") == 0
    await until(lambda: one(connection, OURS) == 0)  # the server takes a moment

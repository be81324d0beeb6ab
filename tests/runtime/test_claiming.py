"""In which order, how many at a time, and by whom jobs are run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
import pytest

from dtsched import App, Context
from tests.runtime.workers import one, running_worker, state_of, states, submit, until, until_ended

Connect = Callable[[], psycopg.Connection]


async def test_higher_priorities_go_first(database: str, connect: Connect) -> None:
    app = App()
    order: list[int] = []

    @app.task
    async def note(n: int) -> None:
        order.append(n)
        await asyncio.sleep(0)

    connection = connect()
    for priority in (1, 5, 10, 3, 7):
        submit(connection, "note", {"n": priority}, priority=priority)
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection)
    assert order == [10, 7, 5, 3, 1]


async def test_no_more_jobs_of_a_queue_run_at_once_than_it_has_slots(database: str, connect: Connect) -> None:
    app = App()
    running = {"mail": 0, "default": 0}
    most = {"mail": 0, "default": 0}

    @app.task
    async def occupy(ctx: Context) -> None:
        running[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], running[ctx.queue])
        await asyncio.sleep(0.01)
        running[ctx.queue] -= 1

    connection = connect()
    for _ in range(60):
        submit(connection, "occupy", queue="mail")
        submit(connection, "occupy")
    async with running_worker(app, database, {"mail": 2, "default": 5}):
        await until_ended(connection)
    assert most == {"mail": 2, "default": 5}


async def test_a_child_of_200_parents_runs_once_all_have_ended(database: str, connect: Connect) -> None:
    app = App()
    ended: list[int] = []

    @app.task
    async def part(n: int) -> int:
        ended.append(n)
        return n

    @app.task
    async def total(ctx: Context) -> int:
        assert len(ended) == 200
        return sum(parent.result for parent in await ctx.parents())

    connection = connect()
    parents = [submit(connection, "part", {"n": n}) for n in range(200)]
    child = submit(connection, "total", depends_on=parents)
    assert state_of(connection, child) == "blocked"
    async with running_worker(app, database):
        await until_ended(connection, child)
    assert one(connection, "select result from dtsched.job(%s)", child) == sum(range(200))


async def test_a_delayed_job_runs_when_it_is_due(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def note() -> None: ...

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "note", delay="300 ms")
        assert state_of(connection, job) == "scheduled"
        await until_ended(connection, job)
    waited = one(connection, "select extract(epoch from started_at - created_at) from dtsched.jobs where id = %s", job)
    assert waited >= 0.3


async def test_long_jobs_are_shared_out_and_not_hoarded(database: str, connect: Connect) -> None:
    app = App()

    begun: list[int] = []
    all_begun = asyncio.Event()

    @app.task
    async def note() -> None: ...

    @app.task
    async def linger(ctx: Context) -> None:
        begun.append(ctx.job_id)
        await all_begun.wait()

    connection = connect()
    # a run of short ones teaches the first worker to fetch ahead, then long ones arrive
    for _ in range(300):
        submit(connection, "note")
    async with running_worker(app, database, {"default": 1}):
        await until_ended(connection)
        jobs = [submit(connection, "linger") for _ in range(4)]
        await until(lambda: begun)
        async with running_worker(app, database, {"default": 3}):
            await until(lambda: len(begun) == 4)
            all_begun.set()
            await until_ended(connection, *jobs)
    workers = connection.execute("select worker_id, count(*) from dtsched.jobs where id = any (%s) group by 1", (jobs,))
    assert sorted(count for _, count in workers.fetchall()) == [1, 3]
    assert sorted(begun) == jobs
    assert {attempt for (attempt,) in connection.execute("select attempt from dtsched.jobs").fetchall()} == {1}


async def test_two_workers_run_every_job_once(database: str, connect: Connect) -> None:
    first, second = App(), App()
    seen: list[int] = []
    for app in (first, second):

        @app.task
        async def note(n: int) -> None:
            seen.append(n)

    connection = connect()
    connection.execute(
        """insert into dtsched.jobs (task, args)
        select 'note', jsonb_build_object('n', n) from generate_series(1, 5000) n"""
    )
    async with running_worker(first, database), running_worker(second, database):
        await until_ended(connection)
    assert sorted(seen) == list(range(1, 5001))
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_a_worker_that_stops_leaves_nothing_of_its_own_behind(database: str, connect: Connect) -> None:
    app = App()
    begun: list[None] = []

    @app.task
    async def linger() -> None:
        begun.append(None)
        await asyncio.sleep(60)

    connection = connect()
    for _ in range(10):
        submit(connection, "linger")
    async with running_worker(app, database, {"default": 2}):
        await until(lambda: len(begun) == 2)
    assert states(connection) == {"ready": 10}
    assert one(connection, "select count(*) from dtsched.leases") == 0
    assert one(connection, "select count(*) from dtsched.workers") == 0
    assert one(connection, "select sum(crash_count) from dtsched.jobs") == 2


async def test_a_worker_that_drains_takes_a_first_signal_for_the_first(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app, begun = App(), asyncio.Event()

    @app.task
    async def linger() -> None:
        begun.set()
        await asyncio.sleep(1.5)

    connection = connect()
    with caplog.at_level(logging.INFO):
        async with running_worker(app, database, lease=1.0, grace_seconds=30):
            job = submit(connection, "linger")
            await begun.wait()  # in the table it runs before the worker has heard of it
            connection.execute("update dtsched.workers set draining = true")
            await until(lambda: "nothing more is claimed" in caplog.text)
    assert state_of(connection, job) == "completed"

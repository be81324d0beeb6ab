"""Workers that are killed between and in the steps of their jobs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg

from dtsched import App, Context
from dtsched.embedded import Cluster
from tests.runtime.handlers import recorded
from tests.runtime.workers import one, running_worker, submit, until, until_ended, worker_process

Connect = Callable[[], psycopg.Connection]

JOBS = 6
STEPS = 8


async def test_a_step_that_was_recorded_is_not_done_again_though_workers_are_killed(
    database: str, connect: Connect, tmp_path: Path
) -> None:
    """Two of three workers are killed in the midst of it. A step that was under way is done again, and no other."""
    connection = connect()
    events = tmp_path / "events"
    jobs = [
        submit(connection, "go_through_steps", {"path": str(events), "steps": STEPS}, max_attempts=1000)
        for _ in range(JOBS)
    ]
    lost_steps = 0
    with ExitStack() as running:
        first, second, _ = (running.enter_context(worker_process(database, queues="default:2")) for _ in range(3))
        for victim, marks in ((first, JOBS), (second, JOBS * STEPS // 2)):
            await until(lambda marks=marks: len(recorded(events)) > marks)
            victim.kill()
            victim.wait()
            lost_steps += 2
        waiting = "select count(*) from dtsched.jobs where state = 'scheduled' and run_at > now() + interval '30 s'"
        await until(lambda: one(connection, waiting) == JOBS)
        crashes = one(connection, "select count(*) from dtsched.attempts where outcome = 'crash'")
        for job in jobs:
            connection.execute("select dtsched.emit(%s)", (f"go:{job}",))
        await until_ended(connection, *jobs)
    done = Counter(event for event in recorded(events) if " does " in event)
    assert {event for event, times in done.items() if times >= 1} == {
        f"{job} does {n}" for job in jobs for n in range(STEPS)
    }
    assert sum(done.values()) - JOBS * STEPS <= crashes <= lost_steps
    assert connection.execute("select result from dtsched.jobs").fetchall() == [(list(range(STEPS)),)] * JOBS
    assert one(connection, "select sum(attempt) from dtsched.jobs") == JOBS + crashes
    recorded_once = "select count(*) from dtsched.steps where kind = 'step' and state = 'done'"
    assert one(connection, recorded_once) == JOBS * STEPS
    assert connection.execute("select * from dtsched.check()").fetchall() == []


async def test_a_handler_waits_in_its_step_while_the_database_is_away(cluster: Cluster) -> None:
    app = App()
    calls: list[int] = []
    charged = asyncio.Event()

    async def charge() -> int:
        calls.append(1)
        await asyncio.to_thread(cluster.stop, "immediate")
        charged.set()
        return 7

    @app.task
    async def order(ctx: Context) -> int:
        return await ctx.step("charge", charge) + await ctx.step("more", lambda: 1)

    async with running_worker(app, cluster.dsn, lease=20.0):
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            job = submit(connection, "order")
        await charged.wait()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.start)
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            await until_ended(connection, job)
            assert connection.execute("select result, attempt from dtsched.jobs").fetchall() == [(8, 1)]
    assert calls == [1]

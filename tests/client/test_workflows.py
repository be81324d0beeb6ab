"""Workflows and dependencies from Python: what is built is submitted at once, and results go where they are wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, assert_type

import pytest

from dtsched import App, Context, InvalidInput, JobFailed, Node, Parent
from dtsched.jobs import NewJob, ParentEdge
from tests.runtime import process_handlers
from tests.runtime.workers import running_worker

PATIENCE = 20


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


async def test_nodes_take_the_results_of_others_as_their_arguments(database: str, app: App) -> None:
    @app.task
    async def extract(day: str) -> list[int]:
        return [1, 2, len(day)]

    @app.task
    async def total(numbers: list[int], *, factor: int = 1) -> int:
        return sum(numbers) * factor

    @app.task
    async def report(first: int, second: int, title: str) -> str:
        return f"{title}: {first} and {second}"

    async with app.workflow("etl") as wf:
        rows = wf.add(extract, "monday")
        assert_type(rows, Node[list[int]])
        last = wf.add(report, wf.add(total, rows), wf.add(total, rows, factor=10), title="sums")
        with pytest.raises(InvalidInput, match="not submitted yet"):
            _ = last.id
    assert (await wf.record()).jobs.total == 4
    async with running_worker(app, database):
        assert await last.result(PATIENCE) == "sums: 9 and 90"
        done = await wf.wait(PATIENCE)
    assert (done.name, done.state, done.progress, done.jobs.completed) == ("etl", "completed", 1.0, 4)


async def test_a_second_block_adds_to_the_workflow_and_its_nodes_may_take_results_of_the_first(
    database: str, app: App
) -> None:
    @app.task
    async def double(value: int) -> int:
        return value * 2

    async with app.workflow("twice") as wf:
        first = wf.add(double, 1)
    async with running_worker(app, database):
        await wf.wait(PATIENCE)
        async with wf:
            second = wf.add(double, first)
        third = await double.options(depends_on=[second]).submit(5)
        assert (await second.result(PATIENCE), await third.result(PATIENCE)) == (4, 10)
    assert (await wf.record()).jobs.total == 2


async def test_a_node_that_may_run_after_a_failure_is_given_null_for_it(database: str, app: App) -> None:
    @app.task
    async def fail() -> int:
        raise JobFailed("no", state="failed")

    @app.task
    async def tell(value: int | None) -> str:
        return f"got {value}"

    @app.task
    async def never(value: int) -> None: ...

    async with app.workflow("partly") as wf:
        broken = wf.add(fail.options(max_attempts=1))
        told = wf.add(tell.options(depends_on=[Parent(broken, on_failure="run")]), broken)
        skipped = wf.add(never.options(on_parent_failure="skip"), broken)
        after = wf.add(tell.options(depends_on=[skipped]), None)
    async with running_worker(app, database):
        assert await told.result(PATIENCE) == "got None"
        assert await after.result(PATIENCE) == "got None"
        ended = await wf.wait(PATIENCE)
    assert (ended.state, ended.jobs.failed, ended.jobs.skipped, ended.jobs.completed) == ("failed", 1, 1, 2)
    job = await skipped.handle.job()
    assert (job.state, job.skipped, job.workflow_id) == ("cancelled", True, wf.id)


async def test_a_handler_in_a_process_is_given_the_result_too(database: str) -> None:
    app = process_handlers.app

    @app.task(name="make_point")
    async def make_point() -> dict[str, int]:
        return {"x": 3, "y": 4}

    async with App(database) as opened, running_worker(app, database):
        opened.registry = app.registry
        point, moved = await opened.client.submit_many(
            [
                NewJob(task="make_point"),
                NewJob(task="shift", args={"point": {"$parent": 1}}, depends_on=[ParentEdge(entry=1)]),
            ]
        )
        assert (await opened.client.result(moved.id, timeout=PATIENCE))[:2] == [6, 8]
        assert point.created


async def test_a_running_job_submits_jobs_that_depend_on_itself_and_on_ended_ones(database: str, app: App) -> None:
    @app.task
    async def follow(value: int) -> int:
        return value

    @app.task
    async def lead(ctx: Context, ended: int) -> list[int]:
        own = await follow.options(depends_on=[ctx.job_id]).submit(1)
        old = await follow.options(depends_on=[ended]).submit(2)
        assert [await own.state(), await old.state() in ("ready", "running", "completed")] == ["blocked", True]
        return [own.id, old.id]

    async with running_worker(app, database):
        ended = await follow.submit(0)
        await ended.result(PATIENCE)
        children = await (await lead.submit(ended.id)).result(PATIENCE)
        assert [await app.client.result(child, timeout=PATIENCE) for child in children] == [1, 2]


async def test_an_error_in_the_block_submits_nothing(app: App) -> None:
    @app.task
    async def echo(value: int) -> int:
        return value

    async def fill() -> None:
        async with wf:
            wf.add(echo, 1)
            raise ZeroDivisionError

    wf = app.workflow("broken")
    with pytest.raises(ZeroDivisionError):
        await fill()
    with pytest.raises(InvalidInput, match="not submitted yet"):
        await wf.state()
    with pytest.raises(InvalidInput, match="async with"):
        wf.add(echo, 1)
    async with wf:
        with pytest.raises(InvalidInput, match="value: Expected `int`, got `str`"):
            wf.add(echo, "one")


async def test_a_cancelled_workflow_is_retried(app: App) -> None:
    @app.task
    async def echo(value: int) -> int:
        return value

    async with app.workflow("again") as wf:
        node = wf.add(echo, wf.add(echo, 1))
    assert set((await wf.cancel()).values()) == {"cancelled"}
    assert await wf.state() == "cancelled"
    assert set((await wf.retry()).values()) == {"retried"}
    assert (await wf.state(), await node.handle.state()) == ("running", "blocked")
    with pytest.raises(TimeoutError, match=r"is still running after 0\.1 s"):
        await wf.wait(0.1)


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"depends_on": [ParentEdge()]}, "an object in depends_on must be like"),
        ({"depends_on": [ParentEdge(job=1, entry=1)]}, "an object in depends_on must be like"),
        ({"depends_on": [ParentEdge(entry=0)]}, "an entry in depends_on must be the number of a job"),
        ({"depends_on": [ParentEdge(job=0)]}, "depends_on must be ids and keys of jobs, not 0"),
        ({"depends_on": [{"job": 1, "on_failure": "stop"}]}, "depends_on is of a wrong type"),
        ({"on_parent_failure": "stop"}, "on_parent_failure must be cancel, run or skip"),
        ({"workflow": 0}, "workflow must be the id of a workflow, not 0"),
        ({"args": {"a": {"$parent": 2}}, "depends_on": [1]}, 'args.a must be {"$parent": n}, n from 1 to 1'),
        ({"workflow": 7}, "there is no workflow 7"),
        ({"depends_on": [ParentEdge(entry=2)]}, "depends_on names entry 2, and there is 1 job"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(app: App, job: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await app.client.submit(NewJob(task="echo", **job))
    assert says in str(refusal.value)


async def test_without_parents_an_argument_that_looks_like_a_reference_must_fit(database: str, app: App) -> None:
    @app.task
    async def number(value: int) -> int:
        return value

    @app.task
    async def anything(value: dict[str, int]) -> dict[str, int]:
        return value

    with pytest.raises(InvalidInput, match="value: Expected `int`, got `object`"):
        await app.submit("number", {"value": {"$parent": 1}})
    async with running_worker(app, database):
        assert await (await anything.submit({"$parent": 1})).result(PATIENCE) == {"$parent": 1}

"""Reading what handlers have logged, from a program of one's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import closing

import pytest

from dtsched import App, JobHandle, NotFound
from tests.sql.sessions import Worker
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with closing(Worker(database)) as worker:
        yield worker


@pytest.fixture
async def job(database: str) -> AsyncGenerator[JobHandle[None]]:
    app = App(database)

    @app.task
    def echo() -> None: ...

    async with app:
        yield await echo.submit()


def log(worker: Worker, job: JobHandle[None], *texts: str) -> None:
    said = [{"lease": worker.leases[job.id], "lines": [{"message": text} for text in texts]}]
    worker.run("select dtsched.report(%s, %s)", worker.id, json.dumps(said))


async def test_lines_are_read_in_order_from_a_line_on_and_of_an_attempt(worker: Worker, job: JobHandle[None]) -> None:
    worker.claim()
    log(worker, job, *map(str, range(1500)))
    found = [line async for line in job.logs()]
    assert [(line.line, line.attempt, line.level, line.logger, line.message) for line in found] == [
        (n + 1, 1, "info", None, str(n)) for n in range(1500)
    ]
    assert [line.message async for line in job.logs(after=1498)] == ["1498", "1499"]
    assert [line async for line in job.logs(attempt=2)] == []


async def test_following_brings_each_line_as_it_comes_and_ends_with_the_job(
    worker: Worker, job: JobHandle[None]
) -> None:
    worker.claim()
    log(worker, job, "one")
    lines = job.logs(follow=True)
    assert (await anext(lines)).message == "one"
    asyncio.get_running_loop().call_later(0.05, log, worker, job, "two")
    assert (await asyncio.wait_for(anext(lines), PATIENCE_SECONDS)).message == "two"
    log(worker, job, "three")
    worker.finish(job.id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [line.message async for line in lines] == ["three"]


async def test_who_stops_following_leaves_nothing_behind(worker: Worker, job: JobHandle[None]) -> None:
    worker.claim()
    log(worker, job, "one")
    before = asyncio.all_tasks()
    lines = job.logs(follow=True)
    assert (await anext(lines)).message == "one"
    await lines.aclose()
    assert not [task for task in asyncio.all_tasks() - before if "until_ended" in repr(task)]


async def test_lines_of_no_job_are_not_found(worker: Worker, job: JobHandle[None]) -> None:
    worker.run("select dtsched.delete(%s)", job.id)
    with pytest.raises(NotFound, match="there is no job"):
        await anext(job.logs(follow=True))

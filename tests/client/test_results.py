"""Waiting for a job: its result in the type the handler promises, its failure, and the end of patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from dtsched import App, Cancel, DtschedError, JobFailed, NotFound, Snooze
from tests.runtime.workers import running_worker
from tests.support.patience import within


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


@dataclass
class Receipt:
    number: int
    at: datetime


WHEN = datetime(2030, 1, 31, 9, tzinfo=UTC)


async def test_a_result_comes_in_the_type_the_handler_promises(database: str, app: App) -> None:
    @app.task
    async def pay(amount: int) -> Receipt:
        return Receipt(amount, WHEN)

    @app.task
    def due() -> datetime | Snooze:
        return WHEN

    @app.task
    async def nothing() -> None: ...

    @app.task
    def untyped():
        return {"at": WHEN}

    async with running_worker(app, database):
        assert await (await pay.submit(5)).result(timeout=20) == Receipt(5, WHEN)
        assert await (await due.submit()).result(timeout=20) == WHEN
        assert await (await nothing.submit()).result(timeout=20) is None
        other = await untyped.submit()
        assert await other.result(timeout=20) == {"at": "2030-01-31T09:00:00Z"}
        handle = await pay.submit(6)
        assert await asyncio.to_thread(handle.result_sync, timeout=20) == Receipt(6, WHEN)


async def test_a_result_that_is_not_what_was_promised_is_an_error(database: str, app: App) -> None:
    wrong: Any = "five"

    @app.task
    async def count() -> int:
        return wrong

    async with running_worker(app, database):
        with pytest.raises(
            DtschedError, match="task count: the result is not what its annotation says: Expected `int`"
        ):
            await (await count.submit()).result(timeout=20)


async def test_a_result_that_is_gone_is_said_to_be_gone_and_one_that_is_none_by_right_is_none(
    database: str, app: App
) -> None:
    @app.task
    async def large() -> str:
        return "x" * 1000

    @app.task
    async def perhaps() -> str | None:
        return "x" * 1000

    async with running_worker(app, database):
        promised, optional = await large.submit(), await perhaps.submit()
        assert await promised.result(timeout=20) == await optional.result(timeout=20) == "x" * 1000
    with psycopg.connect(database) as connection:
        connection.execute("delete from dtsched.results")
    with pytest.raises(DtschedError, match="task large: the result is null: it was not kept, or not for so long"):
        await promised.result(timeout=5)
    assert await optional.result(timeout=5) is None


async def test_a_job_that_failed_or_was_cancelled_says_why(database: str, app: App) -> None:
    @app.task
    async def fail() -> int:
        raise ValueError("no paper")

    @app.task
    async def give_up() -> int:
        raise Cancel("not wanted any more")

    async with running_worker(app, database):
        failed = await fail.options(max_attempts=1).submit()
        with pytest.raises(JobFailed, match=rf"job {failed.id} \(fail\) failed: ValueError: no paper") as error:
            await failed.result(timeout=20)
        assert error.value.state == "failed"
        cancelled = await give_up.submit()
        with pytest.raises(JobFailed, match="not wanted any more") as error:
            await cancelled.result(timeout=20)
        assert error.value.state == "cancelled"
        with pytest.raises(JobFailed):
            await asyncio.to_thread(failed.result_sync, timeout=20)


@pytest.mark.parametrize("timeout", [0, 0.2])
async def test_waiting_ends_with_the_timeout_and_says_what_the_job_is_doing(app: App, timeout: float) -> None:
    @app.task
    async def later() -> int:
        return 1

    job = await later.options(delay="1h").submit()
    began = time.monotonic()
    with within(2 * timeout + 3):
        with pytest.raises(TimeoutError, match=f"job {job.id} is still scheduled after {timeout:g} s"):
            await job.result(timeout=timeout)
        with pytest.raises(TimeoutError, match=f"job {job.id} is still scheduled after {timeout:g} s"):
            await asyncio.to_thread(job.result_sync, timeout=timeout)
    assert time.monotonic() - began >= 2 * timeout
    assert await job.state() == "scheduled"


async def test_a_job_that_has_ended_is_answered_without_any_patience(database: str, app: App) -> None:
    @app.task
    async def one() -> int:
        return 1

    job = await one.submit()
    async with running_worker(app, database):
        await job.result(timeout=20)
    assert await job.result(timeout=0) == 1


async def test_waiting_for_a_job_that_does_not_exist_is_not_found(app: App) -> None:
    with pytest.raises(NotFound, match="there is no job 987654321"):
        await app.client.result(987654321, timeout=5)
    with pytest.raises(NotFound, match="there is no job 987654321"):
        await asyncio.to_thread(app.result_sync, 987654321, timeout=5)


async def test_cancelling_by_handle_says_what_came_of_it(app: App) -> None:
    @app.task
    async def one() -> int:
        return 1

    job = await one.submit()
    assert [await job.cancel(), await job.cancel()] == ["cancelled", "finished"]
    with pytest.raises(JobFailed) as error:
        await job.result(timeout=5)
    assert error.value.state == "cancelled"

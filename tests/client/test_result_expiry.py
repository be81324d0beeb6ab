"""A job's deadline, how long it holds its key, and its result once that has expired, as Python shows them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from dtsched import App, InvalidInput, JobFailed, NotFound, ResultExpired
from tests.conftest import Connect


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


async def test_a_job_shows_its_deadline_and_until_when_it_holds_its_key(app: App) -> None:
    @app.task
    def send(to: str) -> None: ...

    deadline = datetime(2090, 1, 1, tzinfo=UTC)
    plain = await (await send.submit("a")).job()
    assert (plain.deadline, plain.key_until, plain.result_expired_at) == (None, None, None)
    until = await (await send.options(key="a", key_for="1h", deadline=deadline).submit("a")).job()
    assert until.deadline == deadline
    assert until.key_until is not None
    assert abs(until.key_until - until.created_at - timedelta(hours=1)) < timedelta(seconds=1)
    kept = await (await send.options(key="b", key_for="kept").submit("a")).job()
    assert kept.key_until == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


async def test_a_result_that_has_expired_says_when(app: App, connect: Connect) -> None:
    @app.task(result_ttl="1h")
    def add(a: int) -> int:
        return a

    handle = await add.submit(1)
    connect().execute(
        """
        update dtsched.jobs set state = 'completed', result = '1', finished_at = '2026-01-01 00:00Z'
        where id = %s""",
        [handle.id],
    )
    assert await handle.result() == 1
    declared = add.definition.declaration()["settings"]
    connect().execute("insert into dtsched.tasks (name, settings) values ('add', %s)", [Jsonb(declared)])
    with pytest.raises(ResultExpired, match="completed, and its result expired at 2026-01-01 01:00:00") as caught:
        await handle.result()
    assert caught.value.at == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert isinstance(caught.value, NotFound)
    assert not isinstance(caught.value, JobFailed)
    assert await handle.state() == "completed"
    with pytest.raises(ResultExpired):
        handle.result_sync()


@pytest.mark.parametrize(("given", "seconds"), [("2h", 7200.0), (0, 0.0), ("forever", "forever"), (None, None)])
def test_a_task_declares_how_long_its_results_are_kept(given: float | str | None, seconds: object) -> None:
    @App().task(result_ttl=given)
    def add(a: int) -> int:
        return a

    assert add.definition.declaration()["settings"].get("result_ttl") == seconds


@pytest.mark.parametrize("given", [-1, "soon", 36_601 * 86_400])
def test_what_is_no_ttl_is_refused_where_the_task_is_declared(given: float | str) -> None:
    with pytest.raises(InvalidInput) as caught:
        App().task(result_ttl=given)(lambda: None)
    assert caught.value.field == "result_ttl"

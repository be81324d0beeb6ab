"""Keys by Python: made out of a job's args, held for a time, and what becomes of the job that holds one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from hashlib import blake2b
from typing import Any

import pytest

from dtsched import App, Conflict, InvalidInput, Options
from tests.conftest import Connect


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


async def test_jobs_of_the_same_args_are_one_job_however_the_args_are_given(app: App) -> None:
    @app.task(unique="args")
    async def send(to: str, copies: int = 2) -> None: ...

    @app.task(unique="args")
    async def other(to: str, copies: int = 2) -> None: ...

    first = await send.submit("a@x.org")
    same = [await send.submit(copies=2, to="a@x.org"), (await send.submit_many([{"to": "a@x.org"}]))[0]]
    same += [send.submit_sync("a@x.org"), await app.submit("send", {"to": "a@x.org"})]
    assert [(one.id, one.created, one.outcome) for one in same] == [(first.id, False, "kept")] * 4
    assert (first.created, first.outcome) == (True, "created")
    assert (await send.submit("a@x.org", copies=3)).created
    assert (await other.submit("a@x.org")).created


async def test_some_args_may_decide_alone(app: App) -> None:
    @app.task(unique=("user_id",))
    async def remind(user_id: int, text: str) -> None: ...

    first = await remind.submit(1, "one")
    assert (await remind.submit(1, "two")).id == first.id
    assert (await remind.submit(2, "one")).created


async def test_the_key_is_the_tasks_name_and_a_digest_that_stays_the_same(app: App) -> None:
    @app.task(name="mail.send", unique="args")
    async def send(to: str, extra: dict[str, int]) -> None: ...

    one, other = await send.submit("ä", {"a": 1, "b": 2}), await send.submit("ä", {"b": 2, "a": 1})
    assert one.id == other.id
    text = '{"extra":{"a":1,"b":2},"to":"ä"}'
    assert (await one.job()).key == f"mail.send:{blake2b(text.encode(), digest_size=16).hexdigest()}"


async def test_a_key_of_ones_own_goes_over_the_tasks(app: App) -> None:
    @app.task(unique="args")
    async def send(to: str) -> None: ...

    handle = await send.options(key="order-1").submit("a")
    assert (await handle.job()).key == "order-1"


async def test_a_tasks_key_for_and_on_conflict_are_for_jobs_with_a_key(app: App, connect: Connect) -> None:
    @app.task(key_for="10m", on_conflict="replace")
    async def send(to: str) -> None: ...

    first = await send.options(key="k", delay=60).submit("a")
    second = await send.options(key="k", delay=60).submit("b")
    assert (second.id, second.created, second.outcome) == (first.id, False, "replaced")
    seconds = connect().execute("select extract(epoch from key_until - created_at)::int from dtsched.jobs").fetchone()
    assert seconds == (600,)
    assert (await send.submit("a")).created
    (third,) = await send.submit_many([({"to": "c"}, Options(key="k", on_conflict="supersede"))])
    assert third.outcome == "superseded"


async def test_a_key_that_is_held_is_a_conflict_if_told_so(app: App) -> None:
    @app.task(unique="args", on_conflict="reject")
    async def send(to: str) -> None: ...

    first = await send.submit("a")
    with pytest.raises(Conflict, match=f"is held by job {first.id}, which is ready: wait until it is free"):
        await send.submit("a")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"unique": "user_id"}, "unique"),
        ({"unique": ("user_id", "nobody")}, "unique"),
        ({"unique": ()}, "unique"),
        ({"unique": 5}, "unique"),
        ({"key_for": "for ever"}, "key_for"),
        ({"on_conflict": "merge"}, "on_conflict"),
    ],
)
def test_a_task_with_what_cannot_be_meant_is_refused_when_it_is_declared(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:

        @App().task(**options)
        async def remind(user_id: int) -> None: ...

    assert refusal.value.field == field

"""What a submission writes: the task's defaults, the options over them, keys, parents and batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dtsched import App, InvalidInput, Options, Retry, UnknownTask
from dtsched.app import OptionValues
from tests.conftest import Connect

POLICY = {"kind": "linear", "base": 1.5, "cap": 60.0, "jitter": 0.0}


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


def row(connection: psycopg.Connection, job_id: int) -> dict[str, Any]:
    found = connection.execute("select to_jsonb(job) from dtsched.jobs job where id = %s", [job_id]).fetchone()
    assert found is not None
    return found[0]


async def test_a_plain_task_leaves_everything_to_the_defaults(app: App, connect: Connect) -> None:
    @app.task
    def send(to: str, copies: int = 2) -> None: ...

    handle = await send.submit("a@x.org")
    written = row(connect(), handle.id)
    assert handle.created
    assert {name: written[name] for name in ("task", "args", "queue", "priority", "max_attempts", "backoff")} == {
        "task": "send",
        "args": {"to": "a@x.org"},  # a default is the handler's to say, when it runs
        "queue": "default",
        "priority": 5,
        "max_attempts": 5,
        "backoff": None,
    }
    assert [written[name] for name in ("run_at", "timeout", "key", "limit_key", "depends_on", "deadline")] == [None] * 6


async def test_a_tasks_own_defaults_are_written_to_its_jobs(app: App, connect: Connect) -> None:
    retry = Retry(7, backoff="linear", base="1500ms", cap="1m", jitter=0)

    @app.task(name="mail.send", queue="mail", priority=8, retry=retry)
    async def send(to: str) -> None: ...

    written = row(connect(), (await send.submit("a")).id)
    assert [written[name] for name in ("task", "queue", "priority", "max_attempts", "backoff")] == [
        "mail.send",
        "mail",
        8,
        7,
        POLICY,
    ]


async def test_options_go_over_the_tasks_defaults(app: App, connect: Connect) -> None:
    @app.task(queue="mail", priority=8, retry=Retry(7))
    async def send(to: str) -> None: ...

    at = datetime(2090, 1, 31, 9, tzinfo=UTC)
    handle = await send.options(
        at=at,
        queue="slow",
        priority=1,
        key="order-1",
        limit_key="x.org",
        tags=("a", "b"),
        max_attempts=1,
        timeout="2m",
        deadline=at + timedelta(days=1),
        correlation_id="request-1",
    ).submit("a")
    written = row(connect(), handle.id)
    assert (
        written.items()
        >= {
            "state": "scheduled",
            "run_at": "2090-01-31T09:00:00+00:00",
            "queue": "slow",
            "priority": 1,
            "key": "order-1",
            "limit_key": "x.org",
            "tags": ["a", "b"],
            "max_attempts": 1,
            "timeout": "00:02:00",
            "deadline": "2090-02-01T09:00:00+00:00",
            "correlation_id": "request-1",
        }.items()
    )


async def test_options_of_options_add_up_and_leave_the_task_as_it_was(app: App, connect: Connect) -> None:
    @app.task
    async def send(to: str) -> None: ...

    urgent = send.options(priority=9)
    connection = connect()
    both = row(connection, (await urgent.options(queue="mail").submit("a")).id)
    plain = row(connection, (await send.submit("a")).id)
    assert (both["priority"], both["queue"]) == (9, "mail")
    assert (plain["priority"], plain["queue"]) == (5, "default")


@pytest.mark.parametrize(("delay", "seconds"), [("10m", 600), (90, 90), ("1500ms", 1.5), ("7d", 604_800)])
async def test_a_delay_counts_from_the_databases_now(
    delay: float | str, seconds: float, app: App, connect: Connect
) -> None:
    @app.task
    async def send(to: str) -> None: ...

    handle = await send.options(delay=delay).submit("a")
    found = connect().execute(
        "select state, extract(epoch from run_at - created_at)::float8 from dtsched.jobs where id = %s", [handle.id]
    )
    assert found.fetchone() == ("scheduled", pytest.approx(seconds, abs=0.01))


async def test_no_delay_at_all_is_ready_now(app: App) -> None:
    @app.task
    async def send(to: str) -> None: ...

    assert await (await send.options(delay=0).submit("a")).state() == "ready"


async def test_a_key_keeps_the_unfinished_job_and_its_args(app: App) -> None:
    @app.task
    async def send(to: str) -> None: ...

    keyed = send.options(key="order-1")
    first, second = await keyed.submit("first"), await keyed.submit("second")
    assert (first.created, second.created, second.id) == (True, False, first.id)
    assert (await second.job()).args == {"to": "first"}
    assert await first.cancel() == "cancelled"
    third = await keyed.submit("third")
    assert third.created
    assert third.id != first.id


async def test_parents_are_given_as_handles_or_ids(app: App) -> None:
    @app.task
    async def send(to: str) -> None: ...

    first, second = await send.submit("first"), await send.submit("second")
    child = await send.options(depends_on=[first, second.id]).submit("child")
    job = await child.job()
    assert (job.state, job.depends_on) == ("blocked", [first.id, second.id])


async def test_a_batch_comes_back_in_its_order_each_job_with_its_own_options(app: App) -> None:
    @app.task(queue="mail")
    async def send(to: str) -> None: ...

    handles = await send.options(priority=2, tags=["batch"]).submit_many(
        [{"to": "a"}, ({"to": "b"}, Options(priority=9, key="k")), ({"to": "c"}, Options(key="k"))]
    )
    jobs = [await handle.job() for handle in handles]
    assert [handle.created for handle in handles] == [True, True, False]
    assert [(job.args, job.priority, job.queue, job.tags) for job in jobs] == [
        ({"to": "a"}, 2, "mail", ["batch"]),
        ({"to": "b"}, 9, "mail", ["batch"]),
        ({"to": "b"}, 9, "mail", ["batch"]),
    ]


async def test_an_empty_batch_is_no_job(app: App) -> None:
    @app.task
    async def send(to: str) -> None: ...

    assert await send.submit_many([]) == []


async def test_one_bad_job_of_a_batch_keeps_the_others_out(app: App, connect: Connect) -> None:
    @app.task
    async def send(to: str) -> None: ...

    with pytest.raises(InvalidInput, match="missing a required argument: 'to'"):
        await send.submit_many([{"to": "a"}, {}])
    with pytest.raises(InvalidInput, match="priority must be 1 to 10"):
        await send.submit_many([{"to": "a"}, ({"to": "b"}, Options(priority=11))])
    assert connect().execute("select count(*) from dtsched.jobs").fetchone() == (0,)


def test_the_synchronous_twins_write_the_same(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task(queue="mail")
    def send(to: str) -> None: ...

    one = send.options(priority=9).submit_sync("a")
    many = send.submit_many_sync([{"to": "b"}, ({"to": "c"}, Options(priority=1))])
    rows = connect().execute("select id, args ->> 'to', priority, queue from dtsched.jobs order by id").fetchall()
    assert rows == [(one.id, "a", 9, "mail"), (many[0].id, "b", 5, "mail"), (many[1].id, "c", 1, "mail")]


async def test_a_task_is_submitted_by_name_with_options(app: App) -> None:
    @app.task(name="mail.send", queue="mail")
    async def send(to: str) -> None: ...

    job = await (await app.submit("mail.send", {"to": "a"}, priority=9)).job()
    assert (job.task, job.args, job.queue, job.priority) == ("mail.send", {"to": "a"}, "mail", 9)
    with pytest.raises(UnknownTask, match=r"there is no task 'nosuch'; known are: mail\.send"):
        await app.submit("nosuch")
    with pytest.raises(InvalidInput, match="to"):
        await app.submit("mail.send", {"to": 5})


async def test_an_app_that_is_not_open_says_so(database: str) -> None:
    app = App(database)

    @app.task
    async def send(to: str) -> None: ...

    with pytest.raises(InvalidInput, match="the app is not open"):
        await send.submit("a")


async def test_an_app_may_be_closed_twice_and_opened_again(database: str) -> None:
    app = App(database)

    @app.task
    async def send(to: str) -> None: ...

    await app.open()
    await app.open()
    await app.close()
    await app.close()
    async with app:
        assert (await send.submit("a")).created


def test_calling_a_task_runs_its_function_without_a_queue() -> None:
    @App().task
    def add(one: int, two: int) -> int:
        return one + two

    assert add(1, two=2) == 3


def test_option_values_are_the_fields_of_options() -> None:
    assert list(OptionValues.__annotations__) == [field.name for field in fields(Options)]

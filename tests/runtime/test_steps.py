"""What a handler does once: steps, sleeps and events, in handlers on the loop and in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest

from dtsched import App, Context, EventTimeout, InvalidInput, LeaseLost, Retry
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended

Connect = Callable[[], psycopg.Connection]
SOON = '{"kind": "fixed", "base": 0.02}'


@dataclass
class Receipt:
    number: int
    currency: str = "EUR"


def result(connection: psycopg.Connection, job: int) -> Any:
    return one(connection, "select result from dtsched.job(%s)", job)


def attempts(connection: psycopg.Connection, job: int) -> tuple[int, int]:
    """(attempts that count, attempts that did not simply succeed)."""
    return one(connection, "select attempt from dtsched.jobs where id = %s", job), one(
        connection, "select count(*) from dtsched.attempts where job_id = %s", job
    )


def error_of(connection: psycopg.Connection, job: int) -> str:
    return one(connection, "select error from dtsched.jobs where id = %s", job)


async def test_a_step_runs_once_over_all_attempts_and_gives_the_same_value_in_its_type(
    database: str, connect: Connect
) -> None:
    app = App()
    calls: list[str] = []

    async def charge(amount: int) -> Receipt:
        calls.append(f"charge {amount}")
        return Receipt(amount)

    def pick(thing: str) -> tuple[str, int]:
        calls.append(f"pick {thing} {threading.current_thread() is threading.main_thread()}")
        return thing, 1

    @app.task
    async def order(ctx: Context) -> list[str]:
        receipt = await ctx.step("charge", charge, 5)
        picked = await ctx.step("pick", partial(pick, "book"))
        bare = await ctx.step("bare", lambda: charge(6))
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return [repr(receipt), repr(picked), repr(bare)]

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "order", backoff=SOON)
        await until_ended(connection, job)
    assert calls == ["charge 5", "pick book False", "charge 6"]
    bare = {"number": 6, "currency": "EUR"}
    assert result(connection, job) == ["Receipt(number=5, currency='EUR')", "('book', 1)", repr(bare)]
    assert attempts(connection, job) == (3, 2)


async def test_the_first_value_is_the_one_that_later_attempts_get(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def measure(ctx: Context) -> str:
        return repr(await ctx.step("a", lambda: {"at": (1, 2), "text": "a\x00b"}))

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "measure")
        await until_ended(connection, job)
    assert result(connection, job) == "{'at': [1, 2], 'text': 'a\ufffdb'}"


async def test_a_step_that_raises_is_not_remembered_and_may_be_tried_again(database: str, connect: Connect) -> None:
    app = App()
    calls: list[int] = []

    def stumble() -> int:
        calls.append(len(calls))
        if len(calls) < 3:
            raise OSError("not yet")
        return len(calls)

    @app.task
    async def twice(ctx: Context) -> int:
        try:
            return await ctx.step("stumble", stumble)
        except OSError:
            return await ctx.step("stumble", stumble)

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "twice", backoff=SOON)
        await until_ended(connection, job)
    assert (result(connection, job), calls) == (3, [0, 1, 2])
    assert attempts(connection, job) == (2, 1)


async def test_a_name_that_comes_twice_in_an_attempt_fails_the_job_and_says_how_to_name_steps(
    database: str, connect: Connect
) -> None:
    app = App()
    calls: list[int] = []

    @app.task
    async def loop(ctx: Context) -> None:
        for n in range(2):
            await ctx.step("charge", calls.append, n)

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "loop")
        await until_ended(connection, job)
    assert calls == [0]
    assert attempts(connection, job) == (1, 1)
    assert error_of(connection, job) == (
        "dtsched.errors.InvalidInput: this attempt has come to 'charge' before: give each step, sleep and wait a name "
        "of its own, as in 'charge:1'"
    )


async def test_a_result_that_is_no_json_fails_the_job_and_names_the_step(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def odd(ctx: Context) -> None:
        await ctx.step("charge", object)

    @app.task
    async def large(ctx: Context) -> None:
        await ctx.step("charge", lambda: "x" * 1024 * 1024)

    @app.task
    async def nameless(ctx: Context) -> None:
        await ctx.step("", object)

    connection = connect()
    async with running_worker(app, database):
        jobs = [submit(connection, task) for task in ("odd", "large", "nameless")]
        await until_ended(connection, *jobs)
    first, second, third = (error_of(connection, job) for job in jobs)
    assert "step charge: the result cannot be stored as JSON" in first
    assert "step charge: the result is 1048578 bytes of JSON, at most 1048576 are stored" in second
    assert "name must be 1 to 255 characters without control characters, not " in third
    assert [attempts(connection, job) for job in jobs] == [(1, 1)] * 3


async def test_steps_sleeps_and_events_in_a_thread(database: str, connect: Connect) -> None:
    app = App()
    calls: list[str] = []

    def charge(amount: int) -> Receipt:
        calls.append(threading.current_thread().name[:15])
        return Receipt(amount)

    @app.task
    def order(ctx: Context) -> list[object]:
        receipt = ctx.step_sync("charge", charge, 5)
        ctx.sleep_sync(0.01)
        ctx.emit_sync("ordered", receipt.number)
        payload = ctx.wait_event_sync("paid", timeout="1m")
        return [receipt.number, ctx.wait_event_sync("ordered"), payload]

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "order")
        await until(lambda: one(connection, "select count(*) from dtsched.event_waits"))
        connection.execute("select dtsched.emit('paid', '[1]')")
        await until_ended(connection, job)
    assert calls == ["dtsched-default"]
    assert result(connection, job) == [5, 5, [1]]
    assert attempts(connection, job) == (1, 0)


async def test_what_is_for_threads_is_refused_on_the_loop_and_async_functions_in_threads(
    database: str, connect: Connect
) -> None:
    app = App()

    async def charge() -> None: ...

    @app.task
    async def on_the_loop(ctx: Context) -> None:
        ctx.step_sync("charge", dict)

    @app.task
    def in_a_thread(ctx: Context) -> None:
        _ = ctx.step_sync("charge", charge)

    connection = connect()
    async with running_worker(app, database):
        jobs = [submit(connection, "on_the_loop"), submit(connection, "in_a_thread")]
        await until_ended(connection, *jobs)
    assert "in an async handler, await the other one" in error_of(connection, jobs[0])
    assert "step charge: step_sync() takes plain functions" in error_of(connection, jobs[1])


async def test_a_sleep_gives_the_slot_back_and_goes_past_what_catches_exceptions(
    database: str, connect: Connect
) -> None:
    app = App()
    calls: list[str] = []

    @app.task
    async def nap(ctx: Context) -> int:
        calls.append("nap")
        try:
            await ctx.sleep("1h")
            await ctx.sleep(0)
        except Exception:
            calls.append("caught")
        return ctx.attempt

    @app.task
    async def other() -> None:
        calls.append("other")

    connection = connect()
    async with running_worker(app, database, {"default": 1}):
        job = submit(connection, "nap")
        await until(lambda: state_of(connection, job) == "scheduled")
        await until_ended(connection, submit(connection, "other"))
        assert attempts(connection, job) == (0, 0)
        connection.execute("select dtsched.run_now(%s)", (job,))
        await until_ended(connection, job)
    assert calls == ["nap", "other", "nap"]
    assert result(connection, job) == 1


async def test_an_event_wakes_the_job_and_its_payload_is_remembered(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    async def ship(ctx: Context) -> object:
        payload = await ctx.wait_event("paid:42", timeout="7d")
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return payload

    connection = connect()
    async with app, running_worker(app, database):
        job = submit(connection, "ship", backoff=SOON)
        await until(lambda: state_of(connection, job) == "scheduled")
        first = await app.emit("paid:42", {"amount": 5})
        assert (first.created, first.woken) == (True, 1)
        again = app.emit_sync("paid:42", {"amount": 6})
        assert (again.created, again.woken) == (False, 0)
        await until_ended(connection, job)
    assert result(connection, job) == {"amount": 5}
    assert attempts(connection, job) == (2, 1)


async def test_an_event_that_does_not_come_is_a_timeout_that_every_attempt_is_told_of(
    database: str, connect: Connect
) -> None:
    app = App()

    @app.task
    async def ship(ctx: Context) -> str:
        try:
            await ctx.wait_event("paid", timeout=0)
        except EventTimeout as error:
            if ctx.attempt == 1:
                raise Retry(after=0) from error
            return str(error)
        return "paid"

    @app.task
    async def careless(ctx: Context) -> None:
        await ctx.wait_event("paid", timeout=0.05)

    connection = connect()
    async with running_worker(app, database):
        job, failing = submit(connection, "ship"), submit(connection, "careless")
        await until_ended(connection, job, failing)
    assert result(connection, job) == "event paid did not come in time"
    assert state_of(connection, failing) == "failed"
    assert attempts(connection, failing) == (1, 1)


async def test_several_waits_at_once_suspend_the_job_until_all_are_over(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def gather(ctx: Context) -> list[object]:
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(ctx.wait_event(name)) for name in ("a", "b")]
        return [wait.result() for wait in waits]

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "gather")
        await until(lambda: state_of(connection, job) == "scheduled")
        connection.execute("select dtsched.emit('a', '1')")
        await until(lambda: state_of(connection, job) == "scheduled")
        connection.execute("select dtsched.emit('b', '2')")
        await until_ended(connection, job)
    assert result(connection, job) == [1, 2]
    assert attempts(connection, job) == (1, 0)


@pytest.mark.parametrize("failing", [True, False])
async def test_a_step_on_the_users_connection_is_one_transaction_with_its_record(
    database: str, connect: Connect, failing: bool
) -> None:
    app = App()
    connection = connect()
    connection.execute("create table public.charges (amount integer)")

    @app.task
    async def order(ctx: Context) -> int:
        async with await psycopg.AsyncConnection.connect(database) as ours:

            async def charge(amount: int) -> int:
                await ours.execute("insert into charges values (%s)", (amount,))
                if failing and ctx.attempt == 1:
                    raise ValueError("after the effect")
                return amount

            await ctx.step("charge", charge, ctx.attempt, connection=ours)
            if ctx.attempt < 3:
                raise ValueError("after the step")
            return await ctx.step("charge:2", charge, 7, connection=ours)

    async with running_worker(app, database):
        job = submit(connection, "order", backoff=SOON)
        await until_ended(connection, job)
    assert connection.execute("select amount from charges order by 1").fetchall() == [(1 + failing,), (7,)]
    assert result(connection, job) == 7


async def test_a_step_on_the_users_connection_is_undone_when_the_lease_is_lost(database: str, connect: Connect) -> None:
    app = App()
    connection = connect()
    connection.execute("create table public.charges (amount integer)")
    told: list[BaseException] = []

    @app.task
    def order(ctx: Context) -> None:
        with psycopg.connect(database, autocommit=True) as ours:

            def charge() -> None:
                ours.execute("insert into charges values (1)")
                connection.execute(
                    "select dtsched.release(%s, '{}', array(select id from dtsched.leases))", (ctx.worker_id,)
                )

            for name in ("charge", "another"):
                try:
                    ctx.step_sync(name, charge, connection=ours)
                except LeaseLost as error:
                    told.append(error)

    async with running_worker(app, database, {"default": 1}):
        submit(connection, "order", max_attempts=1)
        await until_ended(connection)
    assert connection.execute("select * from charges").fetchall() == []
    assert [type(error) for error in told] == [LeaseLost, LeaseLost]


async def test_a_handler_in_a_process_is_told_that_it_has_no_steps(database: str, connect: Connect) -> None:
    from tests.runtime.process_handlers import app

    connection = connect()
    async with running_worker(app, database):
        job = submit(connection, "take_a_step")
        await until_ended(connection, job)
    assert f"job {job}: step_sync() is not for handlers in a process" in error_of(connection, job)


async def test_a_step_waits_while_the_database_does_not_answer(database: str, connect: Connect) -> None:
    app = App()
    calls: list[int] = []
    connection = connect()

    def charge() -> int:
        calls.append(1)
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dtsched steps'"
        )
        return 7

    @app.task
    async def order(ctx: Context) -> int:
        await ctx.step("first", dict)
        return await ctx.step("charge", charge)

    async with running_worker(app, database):
        job = submit(connection, "order")
        await until_ended(connection, job)
    assert (calls, result(connection, job)) == ([1], 7)
    assert attempts(connection, job) == (1, 0)


async def test_events_can_be_emitted_in_the_users_own_transaction(database: str, connect: Connect) -> None:
    app = App(database)
    with psycopg.connect(database) as ours:
        assert app.emit_sync("a", connection=ours).created
        ours.rollback()
        assert app.emit_sync("a", connection=ours).created
    async with app, await psycopg.AsyncConnection.connect(database) as theirs:
        assert not (await app.emit("a", connection=theirs)).created
        with pytest.raises(InvalidInput, match=r"connection must be a psycopg\.AsyncConnection here"):
            await app.emit("a", connection=ours)  # pyright: ignore[reportArgumentType]: it is synchronous
        with pytest.raises(InvalidInput, match="name must be 1 to 255 characters"):
            await app.emit("")
        with pytest.raises(InvalidInput, match="payload cannot be stored as JSON"):
            await app.emit("b", object())
    assert connect().execute("select name, payload from dtsched.events").fetchall() == [("a", None)]

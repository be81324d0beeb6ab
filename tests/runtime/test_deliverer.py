"""Outcomes go out beside a claim that is under way, once, and with what their handlers have told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from dtsched import App, Context
from dtsched.answers import ErrorInfo, Outcome
from dtsched.runtime import ledger as ledger_module
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.ledger import Ledger
from dtsched.store import Claimed, Store
from tests.runtime.workers import one, running_worker, submit, until
from tests.support.patience import PATIENCE_SECONDS

Connect = Callable[[], psycopg.Connection]

COMPLETED: LiteralString = "select count(*) from dtsched.jobs where state = 'completed'"
CLAIM_WAITS: LiteralString = """
    select count(*) = 1 from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched claimer' and wait_event_type = 'Lock'
"""
DELIVERED: LiteralString = """
    select count(*) = 1 from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched deliverer' and query like '%%dtsched.work(%%'
"""
DELIVERER: LiteralString = """
    select count(*) = 1 from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched deliverer'
"""
CUT: LiteralString = """
    select bool_or(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched deliverer' and wait_event_type = 'Lock'
"""
UNLOGGED: LiteralString = """
    select count(*) from dtsched.jobs job
    where job.state = 'completed' and not exists (select from dtsched.job_logs line where line.job_id = job.id)
"""


async def test_outcomes_do_not_wait_for_a_claim_that_is_under_way(database: str, connect: Connect) -> None:
    app = App()
    gate = asyncio.Event()
    begun: list[int] = []

    @app.task
    async def wait_for_the_gate(ctx: Context) -> None:
        begun.append(ctx.job_id)
        ctx.log("about to end")
        await gate.wait()

    connection, holder = connect(), connect()
    holder.autocommit = False
    for _ in range(300):
        submit(connection, "wait_for_the_gate")
    async with running_worker(app, database, {"default": 1000}, poll=0.01):
        await until(lambda: len(begun) == 300)
        holder.execute("lock table dtsched.ready in access exclusive mode")
        await until(lambda: bool(one(connection, CLAIM_WAITS)))
        gate.set()
        await until(lambda: one(connection, COMPLETED) == 300)
        assert one(connection, DELIVERED)
        holder.rollback()
    assert one(connection, UNLOGGED) == 0
    assert one(connection, "select count(*) from dtsched.attempts") == 0
    assert len(begun) == 300


async def test_no_more_is_claimed_than_can_be_delivered(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results so large that a batch of them is small."""
    app = App()
    most = 0
    take = Ledger.take_outcomes

    def watch(ledger: Ledger) -> list[Outcome]:
        nonlocal most
        batch = take(ledger)
        most = max(most, len(ledger))
        return batch

    @app.task
    async def return_much() -> str:
        return "x" * 1000

    monkeypatch.setattr(ledger_module, "_BATCH_BYTES", 20_000)
    monkeypatch.setattr(Ledger, "take_outcomes", watch)
    connection = connect()
    connection.execute("insert into dtsched.jobs (task) select 'return_much' from generate_series(1, 8000)")
    async with running_worker(app, database, {"default": 10}, poll=0.01):
        await until(lambda: one(connection, COMPLETED) == 8000, seconds=60)
    assert most < 2000


async def test_no_outcome_overtakes_what_its_handler_has_told(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcomes gather when the claimer is about to send that."""
    app = App()
    begun: list[int] = []
    sending, gate, send = asyncio.Event(), asyncio.Event(), asyncio.Event()
    report = Store.report

    async def report_later(store: Store, worker_id: UUID, reports: bytes) -> list[int]:
        sending.set()
        await send.wait()
        return await report(store, worker_id, reports)

    @app.task
    async def say(ctx: Context) -> None:
        begun.append(ctx.job_id)
        await until(lambda: len(begun) == 300)
        ctx.log("about to end")
        await gate.wait()

    monkeypatch.setattr(Store, "report", report_later)
    connection = connect()
    for _ in range(300):
        submit(connection, "say")
    async with running_worker(app, database, {"default": 300}):
        await asyncio.wait_for(sending.wait(), PATIENCE_SECONDS)
        gate.set()
        await until(lambda: bool(one(connection, DELIVERER)))
        await asyncio.sleep(0.3)
        send.set()
        await until(lambda: one(connection, COMPLETED) == 300)
    assert one(connection, UNLOGGED) == 0


async def test_many_short_jobs_end_once_each_with_what_they_logged(database: str, connect: Connect) -> None:
    app = App()

    @app.task
    async def say(ctx: Context) -> None:
        ctx.log("said")

    connection = connect()
    connection.execute("insert into dtsched.jobs (task) select 'say' from generate_series(1, 6000)")
    async with running_worker(app, database, {"default": 50}, poll=0.05):
        await until(lambda: one(connection, COMPLETED) == 6000)
    assert one(connection, UNLOGGED) == 0
    assert one(connection, "select count(*) from dtsched.job_logs") == 6000
    assert one(connection, "select count(*) from dtsched.attempts") == 0


async def test_a_line_that_is_cut_works_again_as_soon_as_it_can(
    database: str, connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nothing gathers any more. It is cut while it waits for a row, and the claimer for a table."""
    monkeypatch.setattr("dtsched.runtime.worker._LOCK_MS", 60_000)
    app = App()
    gate = asyncio.Event()
    begun: list[int] = []

    @app.task
    async def wait_for_the_gate(ctx: Context) -> None:
        begun.append(ctx.job_id)
        await gate.wait()

    connection, holder = connect(), connect()
    holder.autocommit = False
    for _ in range(300):
        submit(connection, "wait_for_the_gate")
    async with running_worker(app, database, {"default": 1000}, poll=0.01):
        await until(lambda: len(begun) == 300)
        holder.execute("select from dtsched.jobs where id = %s for update", (begun[0],))
        holder.execute("lock table dtsched.ready in access exclusive mode")
        await until(lambda: bool(one(connection, CLAIM_WAITS)))
        gate.set()
        await until(lambda: bool(one(connection, CUT)))
        holder.rollback()
        await until(lambda: one(connection, COMPLETED) == 300)
        await until(lambda: "deliveries: works again" in caplog.text)
    assert one(connection, "select count(*) from dtsched.attempts") == 0


async def test_what_is_put_back_or_settled_wakes_who_waits_for_it() -> None:
    stirred = asyncio.Event()
    ledger = Ledger(stirred)
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 1, None, None), 0.0) for lease in (1, 2)]
    ledger.add(attempts)
    for attempt in attempts:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="complete"))
    batch = ledger.take_outcomes()
    stirred.clear()
    ledger.put_back(batch)
    assert stirred.is_set()
    stirred.clear()
    ledger.settle([1])
    assert not stirred.is_set()
    ledger.settle([2])
    assert stirred.is_set()


async def test_a_good_batch_that_is_put_back_wakes_who_waits_for_one() -> None:
    ledger = Ledger(asyncio.Event())
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 1, None, None), 0.0) for lease in range(1, 301)]
    ledger.add(attempts)
    for attempt in attempts:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="complete"))
    batch = ledger.take_outcomes()
    waiting = asyncio.create_task(ledger.until_gathered())
    await asyncio.sleep(0)
    ledger.put_back(batch)
    await asyncio.wait_for(waiting, 5)


async def test_where_many_have_completed_what_failed_goes_in_a_batch_of_its_own_soon_after() -> None:
    ledger = Ledger(asyncio.Event())
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 5, None, None), 0.0) for lease in range(1, 301)]
    ledger.add(attempts)
    failed = {7, 150}

    def end(leases: Iterable[int]) -> None:
        for lease in leases:
            kind = "retry" if lease in failed else "complete"
            ledger.end(attempts[lease - 1], Outcome(lease_id=lease, kind=kind))

    def taken() -> set[int]:
        return {outcome.lease_id for outcome in ledger.take_outcomes()}

    end(range(1, 201))
    assert taken() == {*range(1, 201)} - failed
    assert ledger.has_outcomes
    await asyncio.sleep(0.06)
    end(range(201, 301))
    assert taken() == failed
    assert taken() == {*range(201, 301)}
    assert not ledger.has_outcomes


async def test_what_has_completed_goes_at_least_every_second_time_however_slow_the_answers() -> None:
    ledger = Ledger(asyncio.Event())
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 5, None, None), 0.0) for lease in range(1, 6005)]
    ledger.add(attempts)
    for attempt in attempts[:6000]:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="complete"))
    kinds: list[str] = []
    for attempt in attempts[6000:]:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="retry"))
        await asyncio.sleep(0.06)
        kinds.append(ledger.take_outcomes()[0].kind)
    assert kinds == ["retry", "complete", "retry", "complete"]


async def test_few_outcomes_go_together() -> None:
    ledger = Ledger(asyncio.Event())
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 5, None, None), 0.0) for lease in (1, 2)]
    ledger.add(attempts)
    ledger.end(attempts[0], Outcome(lease_id=1, kind="fail"))
    ledger.end(attempts[1], Outcome(lease_id=2, kind="complete"))
    batch = ledger.take_outcomes()
    assert {outcome.lease_id for outcome in batch} == {1, 2}
    ledger.put_back(batch)
    assert {outcome.lease_id for outcome in ledger.take_outcomes()} == {1, 2}


async def test_a_batch_is_no_larger_than_its_errors_allow() -> None:
    ledger = Ledger(asyncio.Event())
    error = ErrorInfo(type="ValueError", message="m" * 4_000, traceback="t" * 32_000)
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 5, None, None), 0.0) for lease in range(1, 501)]
    ledger.add(attempts)
    for attempt in attempts:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="retry", error=error))
    assert len(ledger.take_outcomes()) == 4 * 1024 * 1024 // 36_000 + 1


async def test_outcomes_of_an_identity_that_was_lost_meanwhile_are_not_put_back() -> None:
    ledger = Ledger(asyncio.Event())
    attempts = [Attempt(Claimed(lease, lease, "step", b"{}", 1, 1, None, None), 0.0) for lease in (1, 2)]
    ledger.add(attempts)
    for attempt in attempts:
        ledger.end(attempt, Outcome(lease_id=attempt.claimed.lease_id, kind="complete"))
    batch = ledger.take_outcomes()
    ledger.put_back(batch)
    assert [outcome.lease_id for outcome in ledger.take_outcomes()] == [1, 2]
    ledger.drop()
    ledger.put_back(batch)
    assert not ledger.has_outcomes

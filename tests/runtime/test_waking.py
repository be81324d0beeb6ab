"""Waking: an idle worker starts a job as soon as it is committed, a busy one costs submitters no NOTIFY."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psycopg
import pytest

from dtsched import App
from tests.runtime.workers import one, running_worker, state_of, submit, until, until_ended
from tests.support.patience import NEVER_SECONDS, five_tries, timely

Connect = Callable[[], psycopg.Connection]

HUNGRY = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock'"


def notifying_app(*, seconds: float = 0) -> App:
    app = App()

    @app.task
    async def note() -> None:
        await asyncio.sleep(seconds)

    return app


async def until_hungry(connection: psycopg.Connection) -> None:
    """Until a worker waits for nothing but notifications."""
    await until(lambda: one(connection, HUNGRY) > 0)
    await asyncio.sleep(1.0)


async def test_a_sleeping_worker_is_woken_by_a_submission(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(notifying_app(), database, poll=NEVER_SECONDS):
        await until_hungry(connection)
        for _ in range(5):
            await until_ended(connection, submit(connection, "note"))


async def test_a_sleeping_worker_is_woken_by_a_commit_that_began_before_it_went_hungry(
    database: str, connect: Connect
) -> None:
    connection, other = connect(), connect()
    other.autocommit = False
    job = submit(other, "note")
    async with running_worker(notifying_app(), database, poll=NEVER_SECONDS):
        await until_hungry(connection)
        other.commit()
        await until_ended(connection, job)


@pytest.mark.parametrize("busy", [False, True])
async def test_a_sleeping_worker_is_woken_by_a_job_that_another_one_promotes(
    database: str, connect: Connect, busy: bool
) -> None:
    connection = connect()
    async with running_worker(notifying_app(), database, poll=NEVER_SECONDS):
        await until_hungry(connection)
        async with running_worker(notifying_app(seconds=60), database, {"other": 1}):
            if busy:
                occupying = submit(connection, "note", queue="other")
                await until(lambda: state_of(connection, occupying) == "running")
            await until_ended(connection, submit(connection, "note", delay="100 ms"))


async def test_without_a_listener_jobs_are_found_by_polling(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(notifying_app(), database, poll=0.2):
        await until_hungry(connection)
        for _ in range(20):
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dtsched listener'"
            )
            await until_ended(connection, submit(connection, "note"))


async def test_a_lost_listener_comes_back_and_is_hungry_again(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(notifying_app(), database, poll=NEVER_SECONDS):
        await until_hungry(connection)
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dtsched listener'"
        )
        await until(lambda: one(connection, HUNGRY) == 0)
        await until_hungry(connection)
        await until_ended(connection, submit(connection, "note"))


async def test_foreign_and_malformed_notifications_change_nothing(database: str, connect: Connect) -> None:
    connection = connect()
    async with running_worker(notifying_app(), database, poll=NEVER_SECONDS):
        await until_hungry(connection)
        strange = (
            "default 5 1 1",
            "default 99 9999999999999999999 999999999999999999",
            "default 5 -1 1",
            "default 5 1",
        )
        for payload in ("", "{bad", "no-such-queue", "x" * 7000, "\u202e", *strange):
            connection.execute(
                "select pg_notify('dtsched_wake', %s), pg_notify('dtsched_cancel', %s)", (payload, payload)
            )
        await until_ended(connection, submit(connection, "note"))


@pytest.mark.parametrize("slots", [1, 4])
@five_tries
async def test_submitting_to_a_busy_worker_notifies_nobody(database: str, connect: Connect, slots: int) -> None:
    connection, listening = connect(), connect()
    listening.execute("listen dtsched_wake")
    async with running_worker(notifying_app(seconds=0.01), database, {"default": slots}, poll=NEVER_SECONDS):
        await until_hungry(connection)
        connection.execute("insert into dtsched.jobs (task) select 'note' from generate_series(1, %s)", (slots * 300,))
        await until(lambda: one(connection, HUNGRY) == 0)
        list(listening.notifies(timeout=0))
        for _ in range(100):
            submit(connection, "note")
            await asyncio.sleep(0.005)
        timely(one(connection, "select count(*) from dtsched.ready") > 0, "the worker was not busy throughout")
        assert list(listening.notifies(timeout=0)) == []


async def test_an_idle_worker_costs_next_to_nothing(database: str, connect: Connect) -> None:
    """The best of some windows, because autovacuum's transactions are counted too, and a busy machine is dear."""
    connection = connect()
    transactions = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    costs: list[float] = []
    cpu: list[float] = []
    async with running_worker(notifying_app(), database, {"default": 4, "mail": 4}, lease=30.0, poll=1.0):
        await until_hungry(connection)
        for _ in range(5):
            before, cpu_before = one(connection, transactions), time.process_time()
            await asyncio.sleep(4)
            costs.append((one(connection, transactions) - before) / 4)
            cpu.append((time.process_time() - cpu_before) / 4)
            if costs[-1] <= 2.5 and cpu[-1] < 0.03:
                break
    assert min(costs) <= 2.5, costs
    assert min(cpu) < 0.03, cpu


async def test_a_sleeper_claims_the_one_job_that_has_come_by_its_entry_and_then_looks_for_more(
    database: str, connect: Connect
) -> None:
    connection = connect()
    connection.execute("create table public.told (job bigint)")
    connection.execute("alter function dtsched.claim_entry rename to usual_claim_entry")
    connection.execute("""
        create function dtsched.claim_entry(uuid, text, integer, text[], integer, smallint, xid8, bigint)
        returns table (lease_id bigint, job_id bigint, task text, args jsonb, attempt integer, max_attempts integer,
            timeout_seconds double precision, correlation_id text, backoff jsonb)
        language sql security definer
        as $$
            insert into public.told values ($8);
            select * from dtsched.usual_claim_entry($1, $2, $3, $4, $5, $6, $7, $8)
        $$""")
    async with running_worker(notifying_app(), database, {"default": 4}, poll=NEVER_SECONDS):
        jobs: list[int] = []
        for _ in range(5):
            await until_hungry(connection)
            jobs.append(submit(connection, "note"))
            await until_ended(connection, jobs[-1])
        await until_hungry(connection)
        connection.execute("insert into dtsched.jobs (task) select 'note' from generate_series(1, 3)")
        await until(lambda: one(connection, "select count(*) from dtsched.jobs where state <> 'completed'") == 0)
    told = [row[0] for row in connection.execute("select job from public.told order by job")]
    assert told == sorted(set(told))
    assert len(told) >= 3  # a worker that is just looking once more finds some by itself
    assert set(told) <= set(jobs)

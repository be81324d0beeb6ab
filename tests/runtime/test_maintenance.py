"""The loops of maintenance, which share a connection."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import sql

from dtsched.maintenance import operations
from dtsched.maintenance.chores import Chores
from dtsched.maintenance.forget import Forget
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round, repeat
from dtsched.maintenance.operations import Operations
from dtsched.maintenance.promote import Promote
from dtsched.maintenance.rescue import Rescue
from dtsched.store import open_store
from tests.conftest import Connect
from tests.support.patience import until_async as until


async def test_a_step_that_breaks_its_connection_each_time_is_tried_less_and_less_often(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk: others go on over the same link, and say each time that it works."""
    link = Link(lambda: open_store(database, role="maintenance"), name="maintenance")
    tries = 0

    async def working() -> Round:
        async with link.store() as store:
            await store.probe()
        return Round(1, 0.01)

    async def breaking() -> Round:
        nonlocal tries
        tries += 1
        async with link.store() as store:
            await store.now()
            store.sever()
            await store.now()
        return Round(0, 0)

    loops = [
        asyncio.create_task(repeat(step, name=step.__name__, database=link.outage)) for step in (working, breaking)
    ]
    await asyncio.sleep(1.7)
    await until(lambda: tries > 1)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await link.close()
    assert 1 < tries < 9
    assert len(caplog.messages) <= 2 * tries
    assert {message.partition(":")[0] for message in caplog.messages} == {"maintenance"}


async def test_records_that_are_old_are_forgotten_however_many_there_are(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect()
    connection.execute(
        "insert into dtsched.audit (action, kind, at) select 'pause', 'queue', now() - interval '91 days' "
        "from generate_series(1, 2500)"
    )
    link = Link(lambda: open_store(database, role="maintenance"))
    monkeypatch.setattr(operations, "_FORGET_SECONDS", 0.0)
    step = Operations(link)
    monkeypatch.setattr(operations, "_FORGET_SECONDS", 3600.0)
    for _ in range(3):
        await step.run_once()
    await link.close()
    assert connection.execute("select count(*) from dtsched.audit").fetchone() == (0,)


async def test_what_is_of_no_use_any_more_is_forgotten_in_one_step(database: str, connect: Connect) -> None:
    connection = connect()
    connection.execute("insert into dtsched.keys values ('old', 1, now() - interval '1 s')")
    connection.execute(
        "insert into dtsched.idempotency (caller, key, digest, answer, until) "
        "values ('', 'old', '', '[]', now() - interval '1 s')"
    )
    connection.execute(
        "insert into dtsched.receipts (lease_id, worker_id, secret, body, state, at) "
        "values (1, gen_random_uuid(), '', '', 'completed', now() - interval '61 minutes')"
    )
    connection.execute(
        "insert into dtsched.feed (event, job_id, queue, task, state, attempt) "
        "values ('started', 1, 'default', 'echo', 'running', 1)"
    )
    link = Link(lambda: open_store(database, role="maintenance"))
    forget = Forget(link)
    assert (await forget.run_once()).count == 3
    connection.execute("update dtsched.feed_watch set marked_at = array[now() - interval '10 minutes']")
    assert (await forget.run_once()).count == 1
    await link.close()
    for table in ("keys", "idempotency", "receipts", "feed"):
        query = sql.SQL("select count(*) from dtsched.{}").format(sql.Identifier(table))
        assert connection.execute(query).fetchone() == (0,), table


@pytest.mark.parametrize(
    ("lease_seconds", "poll_seconds", "pause_seconds"), [(5, 1, 1), (30, 1, 30), (30, 60, 6), (300, 1, 300)]
)
async def test_lost_workers_are_looked_for_unasked_where_the_poll_would_tell_of_them_later(
    database: str, lease_seconds: float, poll_seconds: float, pause_seconds: float
) -> None:
    link = Link(lambda: open_store(database, role="maintenance"))
    step = Rescue(link, worker_id=lambda: None, lease_seconds=lease_seconds, poll_seconds=poll_seconds)
    told = await step.run_once()
    await link.close()
    assert 0.9 * pause_seconds <= told.pause_seconds <= pause_seconds


async def test_what_comes_due_while_a_poll_is_under_way_is_not_forgotten_for_its_answer(
    database: str, connect: Connect
) -> None:
    """The poll, which promotes too, may have read before there was anything, and be answered after that was told."""
    link = Link(lambda: open_store(database, role="maintenance"))
    promote = Promote(link, Chores(), poll_seconds=3600)
    promote.begun_elsewhere()
    promote.done_elsewhere(None, [])
    assert (await promote.run_once()).pause_seconds > 3600
    promote.begun_elsewhere()
    connect().execute("insert into dtsched.jobs (task, run_at) values ('note', now() + interval '20 s')")
    promote.hasten()
    promote.done_elsewhere(None, [])
    try:
        assert 0 < (await promote.run_once()).pause_seconds < 21
    finally:
        await link.close()

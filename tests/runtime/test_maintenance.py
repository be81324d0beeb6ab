"""The loops of maintenance, which share a connection."""

from __future__ import annotations

import asyncio

import pytest

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round, repeat
from dtsched.store import open_store


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
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await link.close()
    assert 1 < tries < 9
    assert len(caplog.messages) <= 2 * tries
    assert {message.partition(":")[0] for message in caplog.messages} == {"maintenance"}

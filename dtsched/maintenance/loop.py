"""The one loop helper: runs a step again and again, and survives whatever the step raises."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dtsched.connections import is_busy, is_outage
from dtsched.outage import Outage, Recovery

_log = logging.getLogger("dtsched.loop")


@dataclass(frozen=True)
class Round:
    """What one run of a step did, and in how many seconds it wants to run again."""

    count: int
    pause_seconds: float


async def repeat(
    step: Callable[[], Awaitable[Round]],
    *,
    name: str,
    poke: asyncio.Event | None = None,
    database: Outage | None = None,
    recovery: Recovery | None = None,
) -> None:
    """Ends only by being cancelled. Setting `poke` cuts the pause short; it is cleared before the step runs. Steps over
    one link share `database`, its outage, so that it is told of once; the link knows when it is over. How long to wait
    is each step's own affair, up to the `recovery` of them all: one that breaks the link each time must not go on
    because others do not."""
    own = Outage(_log, name)
    event = poke or asyncio.Event()
    recovery = recovery or Recovery()
    while True:
        event.clear()
        since = recovery.count
        try:
            pause = (await step()).pause_seconds
        except Exception as error:  # a loop that ends on an unforeseen error is a worker that is alive but deaf
            if is_outage(error) and database is not None:
                database.failed(error)
                await recovery.wait(own.failed(error, told=True), since=since)
                continue
            if not is_outage(error) and not is_busy(error) and not own.ongoing:
                _log.exception("%s failed", name)
            await recovery.wait(own.failed(error), since=since)
            continue
        own.over()
        if pause > 0:
            await wait(event, pause)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or for that long; afterwards it is set either way. Cheaper than wait_for, which makes
    a task."""
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()

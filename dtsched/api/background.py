"""What a server does beside answering: it makes due jobs ready and fires schedules, so that a fleet that claims from
psql or over HTTP has that done too. It rescues nothing: only a worker can be a witness."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import repeat
from dtsched.maintenance.promote import Promote
from dtsched.maintenance.schedules import Schedules
from dtsched.settings import Settings
from dtsched.store import open_store

_LOCK_MS = 500
_CANCEL_SECONDS = 0.5


@asynccontextmanager
async def maintained(settings: Settings) -> AsyncGenerator[None]:
    """Over one connection, which is opened when it is first wanted; does not wait for the database."""
    dsn = settings.require_dsn()
    link = Link(lambda: open_store(dsn, role="maintenance", lock_ms=_LOCK_MS))
    steps = {
        "promote": Promote(link, poll_seconds=settings.poll).run_once,
        "schedules": Schedules(link, poll_seconds=settings.poll).run_once,
    }
    loops = [asyncio.create_task(repeat(step, name=name), name=f"dtsched-{name}") for name, step in steps.items()]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        late = (await asyncio.wait(loops, timeout=_CANCEL_SECONDS))[1]
        if late:  # a cancelled statement waits until the server has answered, and a silent line never does
            link.sever()
        await asyncio.gather(*loops, return_exceptions=True)
        await link.close()

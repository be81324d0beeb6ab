"""What a server does beside answering: what every worker does too."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from dtsched.maintenance.everywhere import Everywhere
from dtsched.maintenance.link import Link
from dtsched.settings import Settings
from dtsched.store import open_store

_LOCK_MS = 500
_IDLE_SECONDS = 0.1
_SEVER_SECONDS = 0.05


@asynccontextmanager
async def maintained(settings: Settings) -> AsyncGenerator[Everywhere]:
    """Over one connection, which is opened when it is first wanted; does not wait for the database."""
    dsn = settings.require_dsn()
    link = Link(lambda: open_store(dsn, role="maintenance", lock_ms=_LOCK_MS), name="maintenance")
    everywhere = Everywhere(link, settings, worker_id=lambda: None)
    loops = everywhere.start()
    try:
        yield everywhere
    finally:
        await _until_idle(link)
        link.sever()
        await asyncio.sleep(_SEVER_SECONDS)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await link.close()


async def _until_idle(link: Link) -> None:
    """A statement that is cancelled asks the server to give it up, and waits for seconds when that is frozen. So what
    goes on may end, and if it does not, its connection is taken away before anything is cancelled."""
    deadline = asyncio.get_running_loop().time() + _IDLE_SECONDS
    while link.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  (once in a server's life)
        await asyncio.sleep(0.01)

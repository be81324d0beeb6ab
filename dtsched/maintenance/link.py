"""A connection that is opened when it is wanted and thrown away when it fails."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from dtsched.connections import is_outage
from dtsched.outage import Outage
from dtsched.store import Store

ANSWER_SECONDS = 15.0
"""What takes longer than this is no answer any more: a half-open connection would be waited for without end."""


_log = logging.getLogger("dtsched.link")


class Link:
    """Serves one block at a time. `opened` counts the connections: a new one knows nothing of what was said on the
    last. `outage` is for who wants to tell of it once, whoever meets it: it is over when a block has succeeded."""

    def __init__(
        self,
        open_store: Callable[[], Awaitable[Store]],
        *,
        name: str = "link",
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._open = open_store
        self.outage = Outage(_log, name)
        self._answer_seconds = answer_seconds
        self._store: Store | None = None
        self._lock = asyncio.Lock()
        self.opened = 0

    @property
    def busy(self) -> bool:
        """A block is under way."""
        return self._lock.locked()

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        """An outage or a cancellation inside the block closes the connection; the next block opens a new one. A block
        that takes longer than `answer_seconds` meets an outage."""
        async with self._lock:
            if self._store is None:
                self._store = await self._open()
                self.opened += 1
            timer = asyncio.get_running_loop().call_later(self._answer_seconds, self._store.sever)
            try:
                yield self._store
            except BaseException as error:
                if is_outage(error) or not isinstance(error, Exception):
                    await self._close()
                raise
            else:
                self.outage.over()
            finally:
                timer.cancel()

    def sever(self) -> None:
        """The block that is under way, if there is one, meets an outage."""
        if self._lock.locked() and self._store is not None:
            self._store.sever()

    async def close(self) -> None:
        async with self._lock:
            await self._close()

    async def _close(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()

"""Who may strike when: light faults together, a heavy one alone. The plan gives each its time; this is for those that
took longer than planned."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    """A heavy fault that waits keeps later ones from beginning, so that its turn comes."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._together = 0
        self._heavy_waiting = 0
        self._alone = False

    @asynccontextmanager
    async def together(self) -> AsyncGenerator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._heavy_waiting)
            self._together += 1
        try:
            yield
        finally:
            async with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        async with self._changed:
            self._heavy_waiting += 1
            try:
                await self._changed.wait_for(lambda: not self._alone and not self._together)
            finally:
                self._heavy_waiting -= 1
                self._changed.notify_all()
            self._alone = True
        try:
            yield
        finally:
            async with self._changed:
                self._alone = False
                self._changed.notify_all()

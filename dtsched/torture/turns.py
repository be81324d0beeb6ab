"""Who may strike when: light faults together, a heavy one alone. The plan gives each its time; this is for those that
took longer than planned."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

Kind = Literal["light", "heavy"]


MOST_TOGETHER = 6
"""Of light ones, when they are late: all at once they would only wait for each other."""


class Turns:
    """In the order in which they ask: a heavy one waits for all that came before it, and later ones wait for that."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._at_work: list[Kind] = []
        self._waiting: dict[object, Kind] = {}

    @asynccontextmanager
    async def together(self) -> AsyncGenerator[None]:
        async with self._turn("light"):
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        async with self._turn("heavy"):
            yield

    @asynccontextmanager
    async def _turn(self, kind: Kind) -> AsyncGenerator[None]:
        place = object()
        self._waiting[place] = kind
        async with self._changed:
            try:
                await self._changed.wait_for(lambda: self._may_begin(place, kind))
                self._at_work.append(kind)
            finally:
                del self._waiting[place]
                self._changed.notify_all()
        try:
            yield
        finally:
            async with self._changed:
                self._at_work.remove(kind)
                self._changed.notify_all()

    def _may_begin(self, place: object, kind: Kind) -> bool:
        if kind == "heavy":
            return not self._at_work and next(iter(self._waiting)) is place
        before = [*self._waiting.values()][: [*self._waiting].index(place)]
        return "heavy" not in [*self._at_work, *before] and len(self._at_work) + len(before) < MOST_TOGETHER

"""Makes jobs ready whose time has come, and hears which other steps have something to do. Every worker does this; the
database lets each job go once."""

import asyncio
from collections.abc import Sequence
from time import monotonic

from dtsched.maintenance.chores import Chores
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered


class Promote:
    def __init__(self, link: Link, chores: Chores, *, poll_seconds: float) -> None:
        self._link = link
        self._chores = chores
        self._poll_seconds = poll_seconds
        self._done_until = 0.0
        self._hastened = False
        self.poked = asyncio.Event()

    def hasten(self) -> None:
        """Something comes due sooner than was known."""
        self._hastened = True
        self._done_until = 0.0
        self.poked.set()

    def begun_elsewhere(self) -> None:
        """The claimer promotes with its own poll, as it does while it has nothing else to do."""
        self._hastened = False

    def done_elsewhere(self, next_seconds: float | None, chores: Sequence[str]) -> None:
        """It has. What hastened this meanwhile may have come too late for it to see."""
        self._chores.tell(chores)
        if self._hastened:
            return
        pause = 1.25 * self._poll_seconds
        self._done_until = monotonic() + (pause if next_seconds is None else min(pause, next_seconds))

    async def run_once(self) -> Round:
        """Jobs promoted. Again when the next is due, at the latest after one poll."""
        if (left_seconds := self._done_until - monotonic()) > 0:
            return Round(0, left_seconds)
        async with self._link.store() as store:
            promoted, next_seconds, chores = await store.promote()
        self._chores.tell(chores)
        pause = jittered(self._poll_seconds)
        return Round(promoted, pause if next_seconds is None else min(pause, next_seconds + 0.001))

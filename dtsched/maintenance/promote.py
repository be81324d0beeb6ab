"""Makes jobs ready whose time has come. Every worker does this; the database lets each job go once."""

import asyncio
from time import monotonic

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered


class Promote:
    def __init__(self, link: Link, *, poll_seconds: float) -> None:
        self._link = link
        self._poll_seconds = poll_seconds
        self._done_until = 0.0
        self.poked = asyncio.Event()

    def hasten(self) -> None:
        """Something comes due sooner than was known."""
        self._done_until = 0.0
        self.poked.set()

    def done_elsewhere(self, next_seconds: float | None) -> None:
        """The claimer has promoted with its own poll, as it does while it has nothing else to do."""
        pause = 1.25 * self._poll_seconds
        self._done_until = monotonic() + (pause if next_seconds is None else min(pause, next_seconds))

    async def run_once(self) -> Round:
        """Jobs promoted. Again when the next is due, at the latest after one poll."""
        if (left_seconds := self._done_until - monotonic()) > 0:
            return Round(0, left_seconds)
        async with self._link.store() as store:
            promoted, next_seconds = await store.promote()
        pause = jittered(self._poll_seconds)
        return Round(promoted, pause if next_seconds is None else min(pause, next_seconds + 0.001))

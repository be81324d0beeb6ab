"""Wakes whom the emit of an event could not wake, and forgets old events."""

from time import monotonic

from dtsched.maintenance.chores import SLOW_SECONDS
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_FORGET_SECONDS = 3600.0


class Events:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._forget_at = monotonic() + jittered(_FORGET_SECONDS)

    async def run_once(self) -> Round:
        """Jobs woken."""
        async with self._link.store() as store:
            woken = await store.deliver_events()
            if monotonic() > self._forget_at:
                await store.forget_events()
                self._forget_at = monotonic() + jittered(_FORGET_SECONDS)
        return Round(woken, jittered(SLOW_SECONDS))

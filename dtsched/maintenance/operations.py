"""Takes operations further, chunk by chunk, and forgets old ones. Every worker and every server does this; the database
has one at a time step each."""

from time import monotonic

from dtsched.maintenance.chores import SLOW_SECONDS
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_BETWEEN_CHUNKS_SECONDS = 0.01  # leaves the database, and the other steps, some of the time
_FORGET_SECONDS = 3600.0


class Operations:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._forget_at = monotonic() + jittered(_FORGET_SECONDS)

    async def run_once(self) -> Round:
        """Jobs met."""
        async with self._link.store() as store:
            step = await store.step_operation()
            if monotonic() > self._forget_at:
                await store.prune_records()
                self._forget_at = monotonic() + jittered(_FORGET_SECONDS)
        if step.next_seconds is None:
            return Round(step.met, jittered(SLOW_SECONDS))
        return Round(step.met, max(step.next_seconds, _BETWEEN_CHUNKS_SECONDS))

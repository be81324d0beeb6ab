"""Takes operations further, chunk by chunk, and forgets old ones. Every worker and every server does this; the database
has one at a time step each."""

from time import monotonic

from dtsched.maintenance.chores import SLOW_SECONDS
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_BETWEEN_CHUNKS_SECONDS = 0.01  # leaves the database, and the other steps, some of the time
_FORGET_SECONDS = 3600.0
_FULL = 1000  # as many records as one call forgets: there may be more
_LARGEST_CHUNK = 500


class Operations:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._chunk = _LARGEST_CHUNK
        self._forget_at = monotonic() + jittered(_FORGET_SECONDS)

    async def run_once(self) -> Round:
        """Jobs met. After a step that failed, which may have been too long for its connection, smaller ones."""
        chunk, self._chunk = self._chunk, max(1, self._chunk // 4)
        async with self._link.store() as store:
            step = await store.step_operation(chunk)
            self._chunk = min(_LARGEST_CHUNK, 2 * chunk)
            if monotonic() > self._forget_at:
                forgotten = await store.prune_records()
                self._forget_at = monotonic() + (0 if forgotten >= _FULL else jittered(_FORGET_SECONDS))
        if step.next_seconds is None:
            return Round(step.met, jittered(SLOW_SECONDS))
        return Round(step.met, max(step.next_seconds, _BETWEEN_CHUNKS_SECONDS))

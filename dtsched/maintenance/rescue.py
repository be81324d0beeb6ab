"""Takes jobs back from workers that were lost. Only a witness gets anything done, see dtsched.rescue().

That the lease of a worker has run out is told by dtsched.chores() every few seconds. What it cannot tell of, the leases
of those who were lost before or whose row is gone, is looked for by slow rounds; in the time of one lease after jobs
were taken back by quick ones, because claims of that worker may have committed late."""

import logging
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_log = logging.getLogger("dtsched.rescue")

_FULL = 1000  # as many as one call rescues: there may be more
_TOLD_SECONDS = 5.0  # as often as promote() starts from the beginning


class Rescue:
    def __init__(self, link: Link, *, worker_id: Callable[[], UUID | None], lease_seconds: float) -> None:
        self._link = link
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._watch_until = monotonic() + lease_seconds

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            rescued = await store.rescue(self._worker_id())
        now = monotonic()
        if rescued:
            _log.warning("jobs taken back from lost workers: %d", len(rescued))
            self._watch_until = now + self._lease_seconds
        quick = self._lease_seconds / 5
        watching = now < self._watch_until or quick < _TOLD_SECONDS
        pause = quick if watching else self._lease_seconds
        return Round(len(rescued), 0 if len(rescued) >= _FULL else jittered(pause))

"""Takes jobs back from workers that were lost. Only a witness gets anything done, see dtsched.rescue().

That the lease of a worker has run out, or that it stopped and could not hand everything back, is told by
dtsched.chores() every few seconds, and again for as long as one lease takes: claims of it may commit late, and leases
be locked. What it cannot tell of, leases whose worker's row is gone, or that are locked for longer, is looked for by
slow rounds, once a lease."""

import logging
from collections.abc import Callable
from uuid import UUID

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_log = logging.getLogger("dtsched.rescue")

_FULL = 500  # half of what one call may rescue: from there on it leaves the rest to the next
_TOLD_SECONDS = 5.0  # as often as promote() starts from the beginning


class Rescue:
    def __init__(
        self, link: Link, *, worker_id: Callable[[], UUID | None], lease_seconds: float, poll_seconds: float
    ) -> None:
        self._link = link
        self._worker_id = worker_id
        quick = lease_seconds / 5
        self._interval_seconds = quick if quick < max(_TOLD_SECONDS, poll_seconds) else lease_seconds

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            rescued = await store.rescue(self._worker_id())
        if rescued:
            _log.warning("jobs taken back from lost workers: %d", len(rescued))
        return Round(len(rescued), 0 if len(rescued) >= _FULL else jittered(self._interval_seconds))

"""Takes jobs back from workers that were lost. Only a witness gets anything done, see dtsched.rescue()."""

import logging
from collections.abc import Callable
from uuid import UUID

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_log = logging.getLogger("dtsched.rescue")

_FULL = 1000  # as many as one call rescues: there may be more


class Rescue:
    def __init__(self, link: Link, *, worker_id: Callable[[], UUID | None], lease_seconds: float) -> None:
        self._link = link
        self._worker_id = worker_id
        self._interval_seconds = lease_seconds / 5

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            rescued = await store.rescue(self._worker_id())
        if rescued:
            _log.warning("jobs taken back from lost workers: %d", len(rescued))
        return Round(len(rescued), 0 if len(rescued) >= _FULL else jittered(self._interval_seconds))

"""Acts on deadlines and timeouts that have passed. Every worker does this; the database lets each job go once."""

import logging
from collections.abc import Callable
from uuid import UUID

from dtsched.maintenance.chores import SLOW_SECONDS
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_log = logging.getLogger("dtsched.expire")

_FULL = 500  # half of what one call may end: from there on it leaves the rest to the next


class Expire:
    def __init__(self, link: Link, *, worker_id: Callable[[], UUID | None]) -> None:
        self._link = link
        self._worker_id = worker_id

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            expired = await store.expire(self._worker_id())
        late = [job for job in expired if job.lease_id is None]
        if late:
            _log.warning("jobs failed because their deadline has passed: %d", len(late))
        if len(late) < len(expired):
            _log.warning("attempts taken away that their workers did not end in time: %d", len(expired) - len(late))
        return Round(len(expired), 0 if len(expired) >= _FULL else jittered(SLOW_SECONDS))

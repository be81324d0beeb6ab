"""Deletes what has been in the feed for long enough. Every worker does this; one at a time."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 60.0
_BETWEEN_BATCHES_SECONDS = 0.05
_BATCH = 10_000


class Feed:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        """Rows deleted."""
        async with self._link.store() as store:
            deleted = await store.prune_feed()
        return Round(deleted, _BETWEEN_BATCHES_SECONDS if deleted == _BATCH else jittered(_INTERVAL_SECONDS))

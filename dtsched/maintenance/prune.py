"""Deletes what is past its retention, in small batches. Every worker does this; one at a time."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 60.0
_BETWEEN_BATCHES_SECONDS = 0.05  # leaves the database, and this worker's other steps, the larger half of the time
_ELSEWHERE_SECONDS = 5.0


class Prune:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        """Jobs and results deleted."""
        async with self._link.store() as store:
            pruned = await store.prune()
        count = pruned.jobs + pruned.results
        if not pruned.more:
            return Round(count, jittered(_INTERVAL_SECONDS))
        return Round(count, _BETWEEN_BATCHES_SECONDS if count else jittered(_ELSEWHERE_SECONDS))

"""Forgets what is of no use to anybody any more: keys whose time is over, what requests were answered under an
Idempotency-Key, with what workers over HTTP finished their leases, and the past of the feed."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 180.0
_BETWEEN_BATCHES_SECONDS = 0.05  # leaves the database, and this worker's other steps, the larger half of the time
_FULL = 1000  # as many as one call forgets of each: there may be more
_FULL_FEED = 10_000


class Forget:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        """Rows dealt with."""
        async with self._link.store() as store:
            small = [
                await store.free_expired_keys(_FULL),
                await store.forget_answers(_FULL),
                await store.forget_receipts(_FULL),
            ]
            feed = await store.prune_feed(_FULL_FEED)
        more = max(small) >= _FULL or feed >= _FULL_FEED
        return Round(sum(small) + feed, _BETWEEN_BATCHES_SECONDS if more else jittered(_INTERVAL_SECONDS))

"""Lets go keys whose time is over, so that they do not pile up: nobody may ever come who wants them."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 60.0

_FULL = 1000


class ExpiredKeys:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            freed = await store.free_expired_keys(_FULL)
        return Round(freed, 0 if freed >= _FULL else jittered(_INTERVAL_SECONDS))

"""Keeps partitions of jobs ahead of need."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 3600.0


class Partitions:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            return Round(await store.ensure_partitions(), jittered(_INTERVAL_SECONDS))

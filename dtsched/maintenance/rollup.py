"""Adds the tallies of past minutes up, so that counts and metrics stay quick to read; and notes how old transactions
are, so that claims know what has waited for long."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 30.0


class RollUp:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            await store.note_age()
            return Round(await store.roll_up(), jittered(_INTERVAL_SECONDS))

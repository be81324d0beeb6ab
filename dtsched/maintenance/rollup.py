"""Adds the tallies of past minutes up, so that counts and metrics stay quick to read; and notes how old transactions
are, so that claims know what has waited for long."""

from time import monotonic

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 30.0
_ROLL_UP_SECONDS = 50.0  # each second round


class RollUp:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._roll_up_at = 0.0

    async def run_once(self) -> Round:
        rolled_up = 0
        async with self._link.store() as store:
            await store.note_age()
            if monotonic() >= self._roll_up_at:
                rolled_up = await store.roll_up()
                self._roll_up_at = monotonic() + _ROLL_UP_SECONDS
        return Round(rolled_up, jittered(_INTERVAL_SECONDS))

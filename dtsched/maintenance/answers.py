"""Forgets what requests under an Idempotency-Key were answered, when their day is over."""

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered

_INTERVAL_SECONDS = 60.0

_FULL = 1000


class RememberedAnswers:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def run_once(self) -> Round:
        async with self._link.store() as store:
            forgotten = await store.forget_answers(_FULL)
        return Round(forgotten, 0 if forgotten >= _FULL else jittered(_INTERVAL_SECONDS))

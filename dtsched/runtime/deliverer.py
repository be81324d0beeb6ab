"""Delivers the outcomes that gather while the claimer waits for an answer, over a connection of its own: short jobs end
faster than one connection could write that down and look for the next ones.

It says what has ended and asks for nothing, so no claim of this worker is ever under way here. Whoever has taken
outcomes from the ledger delivers them or puts them back; their leases stay in it until the database has answered.
"""

from dtsched.connections import is_transient
from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.runtime.finisher import Finisher
from dtsched.runtime.ledger import Ledger
from dtsched.runtime.membership import Membership


class Deliverer:
    def __init__(self, link: Link, ledger: Ledger, finisher: Finisher, membership: Membership) -> None:
        self._link = link
        self._ledger = ledger
        self._finisher = finisher
        self._membership = membership

    async def step(self) -> Round:
        """One batch, as soon as a good one has gathered. The connection is opened by the first."""
        if not self._link.outage.ongoing:  # else any will do, to see whether it is over
            await self._ledger.until_gathered()
        try:
            async with self._link.store() as store:
                batch = self._ledger.take_outcomes()
                return Round(await self._finisher.finish(store, self._membership.worker_id, batch), 0)
        except Exception as error:
            if not is_transient(error):
                raise
            return Round(0, 0.01)

"""Delivers outcomes also when a batch was refused as a whole: one bad row, or one that somebody holds, costs its
neighbours nothing."""

import logging
from collections.abc import Sequence
from uuid import UUID

from dtsched.answers import ErrorInfo, Outcome
from dtsched.connections import is_busy, is_outage, is_transient
from dtsched.errors import Conflict, InvalidInput, WorkerLost
from dtsched.outage import first_line
from dtsched.runtime.ledger import Ledger
from dtsched.runtime.reports import Reports
from dtsched.store import Store

_log = logging.getLogger("dtsched.finisher")

HELD_SECONDS = 1.0
"""When to try again what somebody's row lock has kept from being written."""

_STRIKES = 3
ONE_BY_ONE = 250
"""At most in one go: each is a commit, and nothing is claimed meanwhile."""
_POISON = (InvalidInput, Conflict)  # what the row itself is to blame for


class Finisher:
    def __init__(self, ledger: Ledger, reports: Reports) -> None:
        self._ledger = ledger
        self._reports = reports

    async def finish(self, store: Store, worker_id: UUID, batch: Sequence[Outcome]) -> int:
        """Delivers a batch that was taken from the ledger. Raises only when the database is away or the worker is
        lost."""
        try:
            if self._reports.concern(batch):
                await self._reports.flush(store, worker_id)
            self.delivered(batch, await store.finish(worker_id, batch))
        except Exception as error:
            if not self.is_about_rows(error):
                self._ledger.put_back(batch)
                raise
            return await self.recover(store, worker_id, batch, error)
        except BaseException:
            self._ledger.put_back(batch)
            raise
        return len(batch)

    def is_about_rows(self, error: Exception) -> bool:
        """Some row of the batch may be refused, or held by somebody; not the connection, this worker or chance."""
        if is_outage(error) or isinstance(error, WorkerLost):
            return False
        return is_busy(error) or not is_transient(error)

    def delivered(self, batch: Sequence[Outcome], refused: Sequence[int]) -> None:
        self._ledger.settle([outcome.lease_id for outcome in batch])
        completed = {outcome.lease_id for outcome in batch if outcome.completing}
        if lost := completed.difference(refused):
            _log.warning(
                "%d handlers completed their jobs, but did not commit that: leases %s", len(lost), sorted(lost)[:10]
            )
        if refused := [lease_id for lease_id in refused if lease_id not in completed]:
            # sent twice because an answer was lost, or taken away by a rescue: either way another outcome holds
            _log.warning("%d outcomes were refused, their leases are gone: %s", len(refused), sorted(refused)[:10])

    async def recover(self, store: Store, worker_id: UUID, batch: Sequence[Outcome], error: Exception) -> int:
        """After a batch was refused as a whole: what somebody holds waits, and the rest goes with the next round. What
        was refused for another reason is found by delivering one at a time."""
        free = await self._without_held(store, worker_id, batch) if is_busy(error) else batch
        if len(free) == len(batch):
            self._ledger.put_back(batch[ONE_BY_ONE:])
            return await self._one_by_one(store, worker_id, batch[:ONE_BY_ONE], strikes=_STRIKES)
        self._ledger.put_back(free)
        return 0

    async def look_again(self, store: Store, worker_id: UUID) -> None:
        """What was deferred goes apart from the others, and one such wait a round is enough: a batch with a held row in
        it costs everybody the lock timeout, and nothing is claimed with it."""
        if deferred := self._ledger.take_deferred(ONE_BY_ONE):
            free = await self._without_held(store, worker_id, deferred)
            await self._one_by_one(store, worker_id, free, strikes=1)

    async def _without_held(self, store: Store, worker_id: UUID, batch: Sequence[Outcome]) -> Sequence[Outcome]:
        """Those whose rows nobody holds. The others are deferred."""
        try:
            held = set(await store.held(worker_id, [outcome.lease_id for outcome in batch]))
        except BaseException:
            self._ledger.put_back(batch)
            raise
        self._ledger.defer([outcome for outcome in batch if outcome.lease_id in held], HELD_SECONDS)
        return [outcome for outcome in batch if outcome.lease_id not in held]

    async def _one_by_one(self, store: Store, worker_id: UUID, batch: Sequence[Outcome], *, strikes: int) -> int:
        """Until that many could not be delivered: each may have waited for a lock. These come last the next time."""
        struck: list[Outcome] = []
        position = 0
        while position < len(batch) and len(struck) < strikes:
            try:
                delivered = await self._finish_one(store, worker_id, batch[position])
            except BaseException:
                self._ledger.put_back([*batch[position:], *struck])
                raise
            if not delivered:
                struck.append(batch[position])
            position += 1
        self._ledger.defer([*batch[position:], *struck], HELD_SECONDS)
        return position - len(struck)

    async def _finish_one(self, store: Store, worker_id: UUID, outcome: Outcome) -> bool:
        """False: not now."""
        try:
            self.delivered([outcome], await store.finish(worker_id, [outcome]))
        except Exception as error:
            if is_outage(error) or isinstance(error, WorkerLost):
                raise
            if not isinstance(error, _POISON):
                if not is_transient(error):
                    _log.error("lease %d: its outcome cannot be stored now: %s", outcome.lease_id, first_line(error))
                return False
            _log.error("lease %d: its outcome cannot be stored: %s", outcome.lease_id, first_line(error))
            return await self._finish_poisoned(store, worker_id, outcome.lease_id, error)
        return True

    async def _finish_poisoned(self, store: Store, worker_id: UUID, lease_id: int, error: Exception) -> bool:
        message = f"the outcome could not be stored: {first_line(error)}"
        failure = Outcome(
            lease_id=lease_id, kind="fail", error=ErrorInfo(type="UnstorableResult", message=message, traceback=None)
        )
        try:
            self.delivered([failure], await store.finish(worker_id, [failure]))
        except _POISON as second:
            # forgotten here, it is found by reconcile() and handed back; its crash cap bounds how often
            self._ledger.settle([lease_id])
            _log.error("lease %d: not even its failure can be stored: %s", lease_id, first_line(second))
        except Exception as second:
            if is_busy(second):
                return False
            raise
        return True

"""Delivers outcomes when a batch was refused as a whole: one at a time, so that one bad row costs its neighbours
nothing."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from dtsched.errors import WorkerLost
from dtsched.jobs import ErrorInfo, Outcome
from dtsched.outage import first_line
from dtsched.runtime.ledger import Ledger
from dtsched.store import Store, is_busy, is_outage, is_transient

_log = logging.getLogger("dtsched.finisher")

_BUSY_SECONDS = 5.0


class Finisher:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def finish(self, store: Store, worker_id: UUID, batch: Sequence[Outcome]) -> int:
        """Delivers a batch that was taken from the ledger. Raises only when the database is away or the worker is
        lost."""
        try:
            self.delivered(batch, await store.finish(worker_id, batch))
        except Exception as error:
            if not self.is_about_rows(error):
                self._ledger.put_back(batch)
                raise
            return await self.one_by_one(store, worker_id, batch)
        except BaseException:
            self._ledger.put_back(batch)
            raise
        return len(batch)

    def is_about_rows(self, error: Exception) -> bool:
        """Some row of the batch is refused, or held by somebody; not the connection, this worker or chance."""
        if is_outage(error) or isinstance(error, WorkerLost):
            return False
        return is_busy(error) or not is_transient(error)

    def delivered(self, batch: Sequence[Outcome], refused: Sequence[int]) -> None:
        self._ledger.settle([outcome.lease_id for outcome in batch])
        if refused:
            # sent twice because an answer was lost, or taken away by a rescue: either way another outcome holds
            _log.warning("%d outcomes were refused, their leases are gone: %s", len(refused), sorted(refused)[:10])

    async def one_by_one(self, store: Store, worker_id: UUID, batch: Sequence[Outcome]) -> int:
        for position, outcome in enumerate(batch):
            try:
                await self._finish_one(store, worker_id, outcome)
            except BaseException:
                self._ledger.put_back(batch[position:])
                raise
        return len(batch)

    async def _finish_one(self, store: Store, worker_id: UUID, outcome: Outcome) -> None:
        try:
            self.delivered([outcome], await store.finish(worker_id, [outcome]))
        except Exception as error:
            if is_outage(error) or isinstance(error, WorkerLost):
                raise
            if is_transient(error):  # somebody holds its rows: the others need not wait for that
                asyncio.get_running_loop().call_later(_BUSY_SECONDS, self._ledger.deliver, [outcome])
                return
            _log.error("lease %d: its outcome cannot be stored: %s", outcome.lease_id, first_line(error))
            await self._finish_poisoned(store, worker_id, outcome.lease_id, error)

    async def _finish_poisoned(self, store: Store, worker_id: UUID, lease_id: int, error: Exception) -> None:
        message = f"the outcome could not be stored: {first_line(error)}"
        failure = Outcome(
            lease_id=lease_id, kind="fail", error=ErrorInfo(type="UnstorableResult", message=message, traceback=None)
        )
        try:
            self.delivered([failure], await store.finish(worker_id, [failure]))
        except Exception as second:
            if is_outage(second) or isinstance(second, WorkerLost):
                raise
            # forgotten here, it is found by reconcile() and handed back; its crash cap bounds how often
            self._ledger.settle([lease_id])
            _log.error("lease %d: not even its failure can be stored: %s", lease_id, first_line(second))

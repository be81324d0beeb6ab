"""Who this process is to the database: a random id, new at each start and whenever the database has declared the
last one lost."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID, uuid4

from dtsched.store import Renewal

_ANSWER_SECONDS = 5.0


class Membership:
    """Told of each renewal's answer, in the event loop. Only the database says that a worker is lost: while it
    cannot be reached the leases may well be valid, because whoever would take them cannot reach it either."""

    def __init__(
        self,
        *,
        on_lost: Callable[[], None],
        on_drain: Callable[[], None],
        on_cancel: Callable[[Sequence[int]], None],
    ) -> None:
        self.worker_id: UUID = uuid4()
        self.lost = False
        self._on_lost = on_lost
        self._on_drain = on_drain
        self._on_cancel = on_cancel
        self._answered = asyncio.Event()

    def begin(self, worker_id: UUID) -> None:
        """The database has registered this id."""
        self.worker_id = worker_id
        self.lost = False

    def answered(self, worker_id: UUID, renewal: Renewal) -> None:
        if worker_id != self.worker_id:
            return
        self._answered.set()
        if not renewal.alive and not self.lost:
            self.lost = True
            self._on_lost()
        if renewal.draining:
            self._on_drain()
        if renewal.cancelled:
            self._on_cancel(renewal.cancelled)

    async def confirm(self, poke: Callable[[], None]) -> None:
        """Asks for a renewal and waits for its answer, or for as long as one may take."""
        self._answered.clear()
        poke()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._answered.wait()

"""When a worker that is to end by itself has nothing left to do. Pure counting; the claimer tells it of its polls."""

from collections.abc import Callable
from math import inf
from time import monotonic

from dtsched.runtime.ledger import Ledger

POLLS = 2
PAUSE_SECONDS = 0.05
CUT_SHORT_SECONDS = 1.0
"""A claim reads past entries of no use for this long (claim.sql): one that took as long may have left some behind."""


class Drain:
    """Calls `stop` after polls in a row that found nothing while nothing was held. One poll proves nothing: jobs whose
    time has come may just then be on their way from scheduled to ready. That is done by this worker's maintenance too;
    `maintaining` says whether it is at it. A poll puts it off, so the second sees what the first one missed."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        maintaining: Callable[[], bool],
        stop: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ledger = ledger
        self._maintaining = maintaining
        self._stop = stop
        self._clock = clock
        self._empty = 0
        self._before = 0
        self._trusted = False
        self._began = 0.0
        self._look_at = 0.0

    @property
    def due_at(self) -> float:
        """When to poll all queues, as monotonic seconds: not while anything is held, and then without delay."""
        return inf if len(self._ledger) else self._look_at

    def polling(self) -> None:
        """A poll of all queues begins. It does not count if it fails."""
        self._before, self._empty = self._empty, 0
        self._trusted = not len(self._ledger) and not self._maintaining()
        self._began = self._clock()

    def polled(self, next_seconds: float | None, *, refused: bool) -> None:
        """What it has found is in the ledger by now; the rest is as in store.Polled."""
        now = self._clock()
        cut_short = next_seconds == 0 or now - self._began >= CUT_SHORT_SECONDS
        self._look_at = now + PAUSE_SECONDS
        if self._trusted and not len(self._ledger) and not cut_short and not refused:
            self._empty = self._before + 1
        if self._empty >= POLLS:
            self._stop()

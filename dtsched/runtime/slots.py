"""The slots of one queue, the jobs that wait for one, and how many more are wanted."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from dtsched.answers import Outcome
from dtsched.context import Context
from dtsched.runtime.attempt import Attempt, StopReason
from dtsched.runtime.prefetch import BATCH, Prefetch
from dtsched.runtime.references import ReadResults
from dtsched.runtime.slot import Slot
from dtsched.store import Claimed
from dtsched.tasks import TaskRegistry

HOARD_SECONDS = 0.3
"""Jobs that have waited this long for a slot go back to where other workers can take them."""

_FIRST = 4  # slots that are woken at once


class Slots:
    """`on_end` is called once per attempt, in the event loop; without an outcome the job is to be handed back."""

    def __init__(
        self,
        queue: str,
        size: int,
        registry: TaskRegistry,
        *,
        make_context: Callable[[Claimed, str], Context],
        read_results: ReadResults,
        on_end: Callable[[Attempt, Outcome | None], None],
    ) -> None:
        self.queue = queue
        self.pending: deque[Attempt] = deque()
        self.closed = False
        self._slots = [
            Slot(
                f"{queue}-{number}",
                registry,
                take=self._take,
                sleep=self._sleep,
                leave=self._leave,
                make_context=lambda claimed: make_context(claimed, queue),
                read_results=read_results,
                on_end=on_end,
            )
            for number in range(size)
        ]
        self._free = size
        self._enough = False
        self._left = 0  # attempts whose slots have come free since the last look
        self._sleepers: list[asyncio.Future[None]] = []
        self._prefetch = Prefetch()

    def start(self) -> None:
        for slot in self._slots:
            slot.start()

    def stop_accepting(self) -> list[Attempt]:
        """Nothing that has not begun will begin here. Returns the jobs that waited."""
        self.closed = True
        return self.take_back()

    async def close(self, seconds: float) -> int:
        """How many slots could not be ended, because their handlers do not heed the cancellation."""
        return (await asyncio.gather(*(slot.close(seconds) for slot in self._slots))).count(False)

    @property
    def running(self) -> list[Attempt]:
        """Also those that were given up on and whose handlers have not ended."""
        return [slot.attempt for slot in self._slots if slot.attempt is not None]

    def stop(self, reason: StopReason, attempts: Sequence[Attempt] | None = None) -> None:
        """Tells the handlers of these attempts to stop; of all, when none are named."""
        for slot in self._slots:
            if slot.attempt is not None and (attempts is None or slot.attempt in attempts):
                slot.stop(slot.attempt, reason)

    @property
    def startable(self) -> int:
        """How many more jobs would begin at once: one for each free slot, or where jobs are short, as many as begin one
        after the other within a moment. Of limits no more than these are taken."""
        free = self._free - len(self.pending)
        return max(0, free, self._shortly + min(0, free))

    @property
    def _shortly(self) -> int:
        """How many jobs begin within a moment, where they are so short that each slot gets through more than one.
        Else 0: many slots end some job in every moment, however long each of them takes."""
        within = self._prefetch.within_a_moment
        return within if within > len(self._slots) else 0

    def fetch_no_further(self) -> None:
        """There was nothing to be fetched ahead, or it must not be: no more is wanted before a slot is free, or half of
        what begins within a moment has begun."""
        self._enough = True

    def room(self) -> int:
        """How many more jobs are wanted. 0 while there is enough to do: claims are cheaper in batches."""
        self._prefetch.measure(self._left, monotonic())
        self._left = 0
        self._enough = self._enough and 2 * self.startable <= self._shortly
        if self.closed or self._enough:
            return 0
        ahead = len(self.pending) - self._free
        target = self._prefetch.target
        return min(BATCH, target - ahead) if ahead < 0 or 2 * ahead <= target else 0

    @property
    def backlogged(self) -> bool:
        """There is so much waiting here that outcomes may gather for a moment into a larger batch."""
        return 2 * (len(self.pending) - self._free) > self._prefetch.target

    def feed(self, attempts: Sequence[Attempt]) -> None:
        self._prefetch.busy(monotonic())
        self._prefetch.fed(len(attempts), sum(len(attempt.claimed.args) for attempt in attempts))
        self.pending.extend(attempts)
        self._wake(min(len(attempts), _FIRST))

    def hoarded_until(self) -> float | None:
        """When the oldest job that waits here is to be given back."""
        return self.pending[0].claimed_at + HOARD_SECONDS if self.pending else None

    def take_back(self) -> list[Attempt]:
        waiting = list(self.pending)
        self.pending.clear()
        if waiting:
            self._prefetch.hoarded()
        return waiting

    def withdraw(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Takes those of these jobs back that wait here."""
        waiting = {*self.pending}
        withdrawn = [attempt for attempt in attempts if attempt in waiting]
        if withdrawn:
            left = waiting.difference(withdrawn)
            kept = [attempt for attempt in self.pending if attempt in left]
            self.pending.clear()
            self.pending.extend(kept)
        return withdrawn

    def _take(self) -> Attempt | None:
        if not self.pending or self.closed:
            return None
        self._free -= 1
        return self.pending.popleft()

    def _leave(self) -> None:
        self._free += 1
        self._left += 1
        if self._free == len(self._slots) and not self.pending:
            self._prefetch.idle(monotonic())

    async def _sleep(self) -> None:
        """Who is woken while there is more than it can take wakes two others: so a hundred slots begin within a few
        rounds of the event loop, but where handlers never wait one or two do everything, and nobody wakes in vain."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        try:
            await sleeper
        except asyncio.CancelledError:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
            raise
        if len(self.pending) > 1:
            self._wake(2)

    def _wake(self, most: int) -> None:
        """Those that fell asleep last, as long as there are any. Whose sleep has just been cancelled is awake already,
        but will not wake others."""
        while most and self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                most -= 1

"""What this worker owes the database: the leases it holds, the outcomes to deliver, the leases to hand back."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from dtsched.answers import Outcome
from dtsched.runtime.attempt import Attempt

GATHERED = 250
"""So many outcomes are worth a call of their own."""

_BATCH = 4000
_BATCH_BYTES = 4 * 1024 * 1024
_MANY = 100
_APART_SECONDS = 0.05


class Ledger:
    """A lease is in here from its claim until the database has answered that it is over, or this identity is lost."""

    def __init__(self, stirred: asyncio.Event) -> None:
        self._stirred = stirred
        self._attempts: dict[int, Attempt] = {}
        self._completed: deque[Outcome] = deque()
        self._others: deque[Outcome] = deque()
        self._outcomes_since = 0.0
        self._others_since = 0.0
        self._went_apart = False
        self.behind = False
        """The last batch had to leave outcomes behind because of their size: they come faster than they go."""
        self._gathered = asyncio.Event()
        self._deferred: list[Outcome] = []
        self.never_started: set[int] = set()
        self.started: set[int] = set()

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def has_outcomes(self) -> bool:
        return self._count() > 0

    @property
    def leases(self) -> list[int]:
        return list(self._attempts)

    def attempt(self, lease_id: int) -> Attempt | None:
        """From any thread."""
        return self._attempts.get(lease_id)

    def attempts_of(self, leases: Iterable[int]) -> list[Attempt]:
        return [self._attempts[lease] for lease in leases if lease in self._attempts]

    def add(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self._attempts[attempt.claimed.lease_id] = attempt

    def end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """Without an outcome the job goes back, as one whose handler had started."""
        lease_id = attempt.claimed.lease_id
        if lease_id not in self._attempts:
            return  # of an identity that is lost: its leases are other workers' by now
        if outcome is None:
            self.started.add(lease_id)
        else:
            waiting = self._completed if outcome.kind == "complete" else self._others
            if not waiting:
                self._begin(waiting)
            waiting.append(outcome)
            if len(waiting) >= GATHERED:
                self._gathered.set()
        self._stirred.set()

    def hand_back(self, attempts: Iterable[Attempt]) -> None:
        """Their handlers have not started, and must not any more."""
        self.never_started.update(attempt.claimed.lease_id for attempt in attempts)
        self._stirred.set()

    def defer(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """They cannot be delivered now. After that time take_deferred() has them, unless this identity is lost by
        then."""
        if outcomes:
            asyncio.get_running_loop().call_later(seconds, self._remember, outcomes)

    @property
    def has_deferred(self) -> bool:
        """Some have waited long enough."""
        return bool(self._deferred)

    def take_deferred(self, most: int) -> list[Outcome]:
        taken, self._deferred = self._deferred[:most], self._deferred[most:]
        return taken

    def deliver_at(self, linger_seconds: float) -> float | None:
        """At once if a good batch has gathered, else after having lingered. None: there is nothing to deliver."""
        count = self._count()
        if not count:
            return None
        return 0.0 if count >= _BATCH // 2 else self._outcomes_since + linger_seconds

    async def until_gathered(self) -> None:
        """Until there is a good batch of outcomes."""
        while self._count() < GATHERED:
            self._gathered.clear()
            await self._gathered.wait()

    def take_outcomes(self) -> list[Outcome]:
        """A batch to deliver. Where many have completed they go alone, and the others in batches of their own: a call
        with both locks all their rows beforehand, which costs each of them a fifth more."""
        batch: list[Outcome] = []
        now = monotonic()
        many = len(self._completed) >= _MANY
        due = not self._went_apart and (now - self._others_since >= _APART_SECONDS or len(self._others) >= GATHERED)
        if self._others and (due or not many):
            _move(self._others, batch)
        self._went_apart = many and bool(batch)  # the next batch is of those that have completed, whatever else is due
        if not self._went_apart:
            _move(self._completed, batch)
        self.behind = len(batch) < _BATCH and bool(self._completed) and not self._went_apart
        self._outcomes_since = now
        return batch

    def put_back(self, batch: Sequence[Outcome]) -> None:
        """They were not delivered, or nobody knows: to be sent again, unless this identity has been lost since. A lease
        is finished once, however often that is tried."""
        for outcome in reversed(batch):
            if outcome.lease_id in self._attempts:
                (self._completed if outcome.kind == "complete" else self._others).appendleft(outcome)
        if self._count() >= GATHERED:
            self._gathered.set()
        self._stirred.set()  # whoever put them back may not be who delivers them

    def settle(self, leases: Collection[int]) -> None:
        """The database has answered for these: taken or refused, they are no longer ours."""
        for lease_id in leases:
            self._attempts.pop(lease_id, None)
        if self.never_started or self.started:
            self.never_started.difference_update(leases)
            self.started.difference_update(leases)
        if not self._attempts:
            self._stirred.set()

    def drop(self) -> int:
        """This identity is lost, and with it every lease. Returns how many jobs that were."""
        count = len(self._attempts)
        self._attempts.clear()
        self._completed.clear()
        self._others.clear()
        self._deferred.clear()
        self.never_started.clear()
        self.started.clear()
        return count

    def _count(self) -> int:
        return len(self._completed) + len(self._others)

    def _begin(self, waiting: deque[Outcome]) -> None:
        now = monotonic()
        if not self._count():
            self._outcomes_since = now
        if waiting is self._others:
            self._others_since = now

    def _remember(self, outcomes: Sequence[Outcome]) -> None:
        self._deferred.extend(outcome for outcome in outcomes if outcome.lease_id in self._attempts)
        self._stirred.set()


def _move(waiting: deque[Outcome], batch: list[Outcome]) -> None:
    size = sum(map(_size, batch))
    while waiting and len(batch) < _BATCH and size < _BATCH_BYTES:
        outcome = waiting.popleft()
        size += _size(outcome)
        batch.append(outcome)


def _size(outcome: Outcome) -> int:
    size = len(outcome.result) if outcome.result is not None else 0
    if outcome.error is not None:
        size += len(outcome.error.message) + len(outcome.error.traceback or "")
    return size

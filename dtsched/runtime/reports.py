"""What running handlers tell of their jobs, kept here until a call takes it along: the latest progress and the lines.

Told from any thread. Sent at most every quarter of a second, and before the outcome of the attempt: afterwards its
lease is gone, and nobody may tell anything of the job any more.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import msgspec

from dtsched.answers import Outcome
from dtsched.checks import storable
from dtsched.connections import is_outage, is_transient
from dtsched.outage import first_line
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.ledger import Ledger
from dtsched.runtime.results import shortened
from dtsched.store import Store

_log = logging.getLogger("dtsched.reports")

INTERVAL_SECONDS = 0.25
MOST_BYTES = 4 * 1024 * 1024
"""Of lines that wait. While the database is away the oldest are dropped, each handler's its own."""

MOST_LINES = 10_000
"""Of one attempt: the database takes no more."""

_LONGEST_MESSAGE = 500
_LONGEST_LOGGER = 200
_LINE_BYTES = 200  # what a line costs besides its text

_encode = msgspec.json.Encoder().encode


class _Line(NamedTuple):
    seq: int
    at: float
    level: str
    logger: str | None
    message: str

    @property
    def size(self) -> int:
        return _LINE_BYTES + len(self.message)


class _Progress(NamedTuple):
    percent: float | None
    message: str | None


class _Told:
    """By one attempt, since the last call took some of it along. `dropped` lines came before those that are here."""

    __slots__ = ("attempt", "dropped", "lines", "progress", "seq")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.progress: _Progress | None = None
        self.lines: deque[_Line] = deque()
        self.dropped = 0
        self.seq = 0


class _Taken(NamedTuple):
    """On its way to the database."""

    told: _Told
    progress: _Progress | None
    lines: Sequence[_Line]
    dropped: int


class Reports:
    """`wake` is called in the event loop when there is something to send, which is due at `due_at` (monotonic)."""

    def __init__(self, ledger: Ledger, *, wake: Callable[[], None]) -> None:
        self._ledger = ledger
        self._wake = wake
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()  # a signal handler may log in the middle of a line
        self._told: dict[int, _Told] = {}
        self._size = 0
        self._failed = False
        self._flushing = asyncio.Lock()
        self.due_at = inf

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def of(self, lease_id: int) -> "AttemptNotes":
        return AttemptNotes(self, lease_id)

    def progress(self, lease_id: int, percent: float | None, message: str | None) -> None:
        text = None if message is None else storable(message[:_LONGEST_MESSAGE])
        with self._lock:
            if (told := self._of(self._ledger.attempt(lease_id))) is not None:
                told.progress = _Progress(percent, text)
                self._is_due()

    def line(self, attempt: Attempt | None, level: str, logger: str | None, message: str) -> None:
        """Nothing for an attempt that is over, or another worker's."""
        text = storable(shortened(message))
        name = None if logger is None else storable(logger[:_LONGEST_LOGGER])
        with self._lock:
            told = self._of(attempt)
            if told is None or told.seq >= MOST_LINES:
                return
            told.seq += 1
            told.lines.append(line := _Line(told.seq, monotonic(), level, name, text))
            self._size += line.size
            self._drop_oldest(told)
            self._is_due()

    def line_of(self, lease_id: int, level: str, logger: str | None, message: str) -> None:
        self.line(self._ledger.attempt(lease_id), level, logger, message)

    def concern(self, outcomes: Iterable[Outcome]) -> bool:
        """Whether something waits that these attempts have told."""
        waits = self.due_at < inf or self._flushing.locked()
        return waits and any(outcome.lease_id in self._told for outcome in outcomes)

    async def flush(self, store: Store, worker_id: UUID) -> None:
        """Sends all that waits. Raises in an outage only, and then, as when somebody holds the job's row, it is sent
        again, for as long as the lease is held. When it returns, what others were sending has been sent too."""
        async with self._flushing:
            await self._flush(store, worker_id)

    async def _flush(self, store: Store, worker_id: UUID) -> None:
        if not (taken := self._take()):
            return
        try:
            accepted = {*await store.report(worker_id, _encode([_report(one) for one in taken]))}
        except BaseException as error:
            if not isinstance(error, Exception) or is_outage(error):
                self._put_back(taken)
                raise
            if is_transient(error):
                self._put_back(taken)
            elif not self._failed:  # outcomes matter more than what is told of their jobs
                self._failed = True
                _log.error("progress and lines of jobs cannot be stored: %s", first_line(error))
        else:
            self._failed = False
            self._put_back([one for one in taken if one.told.attempt.claimed.lease_id not in accepted])
        self._forget_ended()

    def clear(self) -> None:
        """This worker's identity is lost, and with it every lease."""
        with self._lock:
            self._told.clear()
            self._size, self.due_at = 0, inf

    def _of(self, attempt: Attempt | None) -> _Told | None:
        if attempt is None or attempt.ended:
            return None
        lease_id = attempt.claimed.lease_id
        if (told := self._told.get(lease_id)) is None:
            if self._ledger.attempt(lease_id) is not attempt:
                return None
            told = self._told[lease_id] = _Told(attempt)
        return told if told.attempt is attempt else None

    def _is_due(self) -> None:
        if self.due_at == inf:
            self.due_at = monotonic() + INTERVAL_SECONDS
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed: the worker has ended
                    self._loop.call_soon_threadsafe(self._wake)

    def _drop_oldest(self, told: _Told) -> None:
        while self._size > MOST_BYTES and told.lines:
            self._size -= told.lines.popleft().size
            told.dropped += 1

    def _take(self) -> list[_Taken]:
        with self._lock:
            self.due_at = inf
            taken = [
                _Taken(told, told.progress, list(told.lines), told.dropped)
                for told in self._told.values()
                if told.progress is not None or told.lines or told.dropped
            ]
            for told in self._told.values():
                told.progress, told.dropped = None, 0
                told.lines.clear()
            self._size = 0
        return taken

    def _put_back(self, taken: Iterable[_Taken]) -> None:
        with self._lock:
            for told, progress, lines, dropped in taken:
                lease_id = told.attempt.claimed.lease_id
                if self._ledger.attempt(lease_id) is not told.attempt:
                    continue  # it is over, and forgotten with the next call
                told.progress = told.progress or progress
                told.lines.extendleft(reversed(lines))
                told.dropped += dropped
                self._size += sum(line.size for line in lines)
                self._drop_oldest(told)
                self._is_due()

    def _forget_ended(self) -> None:
        with self._lock:
            for lease_id in [one for one, told in self._told.items() if self._ledger.attempt(one) is not told.attempt]:
                told = self._told.pop(lease_id)
                self._size -= sum(line.size for line in told.lines)


class AttemptNotes:
    """What a context is given."""

    __slots__ = ("_lease_id", "_reports")

    def __init__(self, reports: Reports, lease_id: int) -> None:
        self._reports = reports
        self._lease_id = lease_id

    def progress(self, percent: float | None, message: str | None) -> None:
        self._reports.progress(self._lease_id, percent, message)

    def line(self, level: str, logger: str | None, message: str) -> None:
        self._reports.line_of(self._lease_id, level, logger, message)


def _report(taken: _Taken) -> dict[str, object]:
    now = monotonic()
    report: dict[str, object] = {"lease": taken.told.attempt.claimed.lease_id}
    if taken.progress is not None:
        report["progress"] = taken.progress._asdict()
    lines: list[dict[str, object]] = []
    if taken.dropped:
        # in the place, and with the number, of the last one that was dropped
        seq = taken.lines[0].seq - 1 if taken.lines else taken.told.seq
        ago = max(0.0, round(now - taken.lines[0].at, 6)) if taken.lines else 0.0
        told = f"{taken.dropped} lines were dropped here: the database did not take them in time"
        lines.append({"seq": seq, "ago": ago, "level": "warning", "logger": "dtsched", "message": told})
    for line in taken.lines:
        ago = max(0.0, round(now - line.at, 6))
        lines.append({"seq": line.seq, "ago": ago, "level": line.level, "logger": line.logger, "message": line.message})
    if lines:
        report["lines"] = lines
    return report

"""Tells any number of waiters when their jobs have ended, over one LISTEN connection and a slow poll beneath it.

A notification is a hint: what ended in a transaction that began before we listened is not announced. So a job is looked
at as soon as somebody waits for it, again and again at growing intervals, and at once when it is announced.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from time import monotonic
from typing import Any

from dtsched.errors import closed_while_waiting
from dtsched.listener import BUCKETS, Listener
from dtsched.patience import Patience

_FIRST_PAUSE_SECONDS = 0.01
_SHORTEST_ROUND_SECONDS = 0.01  # jobs that end together are looked at together: thousands a second take a hundred looks
_LISTENING_PAUSE_SECONDS = 2.0  # with a listener the poll is only what lies beneath it
_DEAF_PAUSE_SECONDS = 0.25
_ROUND_SECONDS_A_JOB = 0.00001  # a round asks which buckets are theirs
_PAUSE_SECONDS_A_JOB = 0.002
_MOST_AT_ONCE = 1000
_ANSWER_SECONDS = 4.0


@dataclass
class _Awaited:
    """A job that somebody waits for: when it is looked at next, and in how many seconds after that again."""

    waiters: list[asyncio.Future[None]] = field(default_factory=list[asyncio.Future[None]])
    look_at: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS


class Waiting:
    """`find_ended` says which of these jobs have ended or are gone. Used in one event loop; connects when somebody
    waits for the first time."""

    def __init__(self, dsn: str, find_ended: Callable[[Sequence[int]], Coroutine[Any, Any, set[int]]]) -> None:
        self._find_ended = find_ended
        self._listener = Listener(
            dsn, {"dtsched_done": self._announced}, on_change=self._listener_changed, role="waiting listener"
        )
        self._awaited: dict[int, _Awaited] = {}
        self._queue: list[tuple[float, int]] = []
        """A heap of when to look at which job; an entry counts only if it says what the job's `look_at` says."""
        self._watched: list[set[int]] = []
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._patience = Patience()

    def join(self, channel: str, receive: Callable[[str], None], on_change: Callable[[], None]) -> None:
        """For who wants to hear something else over the same connection: before it is used."""
        self._listener.join(channel, receive, on_change)

    @property
    def listener(self) -> Listener:
        """Connects, if it has not yet."""
        self._start()
        return self._listener

    @property
    def connected(self) -> bool:
        """Ends of jobs are announced to this process now."""
        return self._listener.connected

    async def until_ended(self, job_id: int) -> None:
        """Returns when the job has ended or is gone; raises what asking for it raises."""
        waiter = self.wait_for(job_id)
        try:
            await waiter
        finally:
            self.let_go(job_id, waiter)

    def wait_for(self, job_id: int) -> asyncio.Future[None]:
        """Done when the job has ended or is gone, or with what asking for it raises. To be let go by whoever calls."""
        self._start()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        awaited = self._awaited.get(job_id)
        if awaited is None:
            awaited = self._awaited[job_id] = _Awaited()
            self._look_at(job_id, awaited, 0.0)
        awaited.waiters.append(waiter)
        self._stirred.set()
        return waiter

    def let_go(self, job_id: int, waiter: asyncio.Future[None]) -> None:
        awaited = self._awaited.get(job_id)
        if awaited is not None and waiter in awaited.waiters:
            awaited.waiters.remove(waiter)
            if not awaited.waiters:
                del self._awaited[job_id]
        if not self._awaited:
            self._stirred.set()  # nothing more is to be announced

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watched.clear()
        self._fail(list(self._awaited), closed_while_waiting())

    def _start(self) -> None:
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            self._watched.clear()
            self._tasks = [
                asyncio.create_task(self._listener.run(), name="dtsched-done-listener"),
                asyncio.create_task(self._work(), name="dtsched-waiting"),
            ]

    async def _work(self) -> None:
        looked_at = 0.0
        while True:
            await self._until_due()
            shortest = max(_SHORTEST_ROUND_SECONDS, _ROUND_SECONDS_A_JOB * len(self._awaited))
            await asyncio.sleep(looked_at + shortest - monotonic())  # less than nothing is nothing
            await self._watch()
            now = looked_at = monotonic()
            if due := self._due(now):
                await self._look(due)

    async def _until_due(self) -> None:
        now, first = monotonic(), self._first()
        if first is None or first > now:
            timer = None if first is None else asyncio.get_running_loop().call_later(first - now, self._stirred.set)
            try:
                await self._stirred.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        self._stirred.clear()

    def _look_at(self, job_id: int, awaited: _Awaited, time: float) -> None:
        awaited.look_at = time
        heappush(self._queue, (time, job_id))

    def _first(self) -> float | None:
        """When a job is to be looked at next."""
        while self._queue:
            time, job_id = self._queue[0]
            awaited = self._awaited.get(job_id)
            if awaited is not None and awaited.look_at == time:
                return time
            heappop(self._queue)
        return None

    def _due(self, now: float) -> list[int]:
        """Taken out of the queue: they are to be put back."""
        due: dict[int, None] = {}
        while len(due) < _MOST_AT_ONCE and (first := self._first()) is not None and first <= now:
            due[heappop(self._queue)[1]] = None
        return list(due)

    async def _watch(self) -> None:
        """Before a job is looked at: what ends after that is announced."""
        wanted = {job_id % BUCKETS for job_id in self._awaited}
        if not wanted:
            while self._watched:
                await self._listener.unwatch_ended(sorted(self._watched.pop()))
        elif (new := wanted.difference(*self._watched)) and await self._listener.watch_ended(sorted(new)):
            self._watched.append(new)

    async def _look(self, job_ids: list[int]) -> None:
        listening = max(_LISTENING_PAUSE_SECONDS, _PAUSE_SECONDS_A_JOB * len(self._awaited))
        for job_id in job_ids:
            awaited = self._awaited[job_id]
            watched = any(job_id % BUCKETS in buckets for buckets in self._watched)
            longest = listening if watched else _DEAF_PAUSE_SECONDS
            self._look_at(job_id, awaited, monotonic() + awaited.pause)
            awaited.pause = min(longest, 2 * awaited.pause)
        try:
            ended = await self._patience.ask(self._find_ended(job_ids), _ANSWER_SECONDS)
        except Exception as error:  # whoever waits is to know, whatever it is
            self._fail(job_ids, error)
            return
        for job_id in ended:
            for waiter in self._waiters(job_id):
                waiter.set_result(None)

    def _fail(self, job_ids: Sequence[int], error: Exception) -> None:
        for job_id in job_ids:
            for waiter in self._waiters(job_id):
                waiter.set_exception(error)

    def _waiters(self, job_id: int) -> list[asyncio.Future[None]]:
        awaited = self._awaited.pop(job_id, None)
        return [waiter for waiter in awaited.waiters if not waiter.done()] if awaited else []

    def _announced(self, payload: str) -> None:
        """Anybody may send anything."""
        for text in payload.split(","):
            if text.isascii() and text.isdecimal() and len(text) < 20 and (awaited := self._awaited.get(int(text))):
                if awaited.look_at > 0:
                    self._look_at(int(text), awaited, 0.0)
                self._stirred.set()

    def _listener_changed(self) -> None:
        """The locks have gone with the last connection, and with it what was announced meanwhile."""
        self._watched.clear()
        for awaited in self._awaited.values():
            awaited.look_at, awaited.pause = 0.0, _FIRST_PAUSE_SECONDS
        self._queue = [(0.0, job_id) for job_id in self._awaited]
        self._stirred.set()

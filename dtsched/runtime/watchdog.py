"""Notices a worker that is alive but deaf: free slots, due work, and nothing claimed."""

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from dtsched.maintenance.link import Link
from dtsched.maintenance.loop import Round
from dtsched.outage import jittered
from dtsched.runtime.claimer import Claimer

_log = logging.getLogger("dtsched.watchdog")

_LONGEST_SECONDS = 300.0


class Watchdog:
    def __init__(
        self,
        link: Link,
        claimer: Claimer,
        queues: Sequence[str],
        *,
        deaf_seconds: float,
        reconnect: Callable[[], None],
    ) -> None:
        self._link = link
        self._claimer = claimer
        self._queues = list(queues)
        self._reconnect = reconnect
        self._deaf_seconds = deaf_seconds
        self._patience_seconds = deaf_seconds

    async def run_once(self) -> Round:
        """1 if it had to reconnect. Each time in a row it waits longer: the work may be such that nobody here may
        take it."""
        silent_seconds = monotonic() - self._claimer.claimed_at
        if silent_seconds < self._patience_seconds or not self._claimer.has_room:
            self._patience_seconds = self._deaf_seconds
            return Round(0, jittered(self._deaf_seconds))
        async with self._link.store() as store:
            due = await store.has_ready(self._queues)
        if not due:
            return Round(0, jittered(self._deaf_seconds))
        _log.warning("free slots and ready jobs, but none claimed for %.0f s: reconnecting", silent_seconds)
        self._reconnect()
        self._patience_seconds = min(_LONGEST_SECONDS, 2 * self._patience_seconds)
        return Round(1, jittered(self._patience_seconds))

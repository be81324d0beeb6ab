"""How a loop behaves while what it needs is away: growing pauses with jitter, one line when it begins, one when it
is over."""

import asyncio
import logging
import random
import time
from contextlib import suppress

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 5.0


def jittered(seconds: float) -> float:
    """Spreads a fleet's rounds; never longer than asked, so that a promise of "at most one poll" holds."""
    return seconds * random.uniform(0.9, 1.0)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class Outage:
    """One loop's, or that of several that need the same thing."""

    def __init__(self, log: logging.Logger, who: str, *, longest_seconds: float | None = None) -> None:
        self._log = log
        self._who = who
        self._longest = LONGEST_SECONDS if longest_seconds is None else longest_seconds
        self._began: float | None = None
        self._told = False

    @property
    def ongoing(self) -> bool:
        """It was told of."""
        return self._told

    def failed(self, error: BaseException, *, told: bool = False) -> float:
        """Seconds to wait before the next try: as many as it has lasted for. Only the first failure in a row is
        logged, and none that somebody else has `told` of."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if not self._told and not told:
            self._told = True
            self._log.warning("%s: %s; trying again until it works", self._who, first_line(error))
        return jittered(min(self._longest, max(SHORTEST_SECONDS, now - self._began)))

    def over(self) -> None:
        if self._told and self._began is not None:
            self._log.warning("%s: works again after %.1f s", self._who, time.monotonic() - self._began)
        self._began, self._told = None, False


class Recovery:
    """What one loop tells the others of its process: the database, which was away, has answered. That ends the pauses
    of all, but once for each time that it was away: a step that fails by itself keeps to its own."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.count = 0

    def announce(self) -> None:
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float, *, since: int) -> None:
        """For so long, or until it was announced after it had been so many times."""
        if self.count == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._event.wait()

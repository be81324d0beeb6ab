"""How a loop behaves while what it needs is away: growing pauses with jitter, one line when it begins, one when it
is over."""

import logging
import random
import time


def jittered(seconds: float) -> float:
    """Spreads a fleet's rounds; never longer than asked, so that a promise of "at most one poll" holds."""
    return seconds * random.uniform(0.9, 1.0)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class Outage:
    def __init__(
        self, log: logging.Logger, who: str, *, shortest_seconds: float = 0.1, longest_seconds: float = 5.0
    ) -> None:
        self._log = log
        self._who = who
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._failures = 0
        self._began = 0.0

    @property
    def ongoing(self) -> bool:
        return self._failures > 0

    def failed(self, error: BaseException) -> float:
        """Seconds to wait before the next try. Only the first failure in a row is logged."""
        if self._failures == 0:
            self._began = time.monotonic()
            self._log.warning("%s: %s; trying again until it works", self._who, first_line(error))
        pause = min(self._longest, self._shortest * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return jittered(pause)

    def over(self) -> None:
        if self._failures:
            self._log.warning("%s: works again after %.1f s", self._who, time.monotonic() - self._began)
            self._failures = 0

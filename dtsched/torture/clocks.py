"""What the database's clock said when, so that its times and those of the history can be put on one axis."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from math import inf

from msgspec import Struct


class Pair(Struct, frozen=True, kw_only=True):
    """`ns` of CLOCK_MONOTONIC, at which the database's clock said `at` (seconds since 1970), give or take."""

    ns: int
    at: float
    error_seconds: float = 0.0


class Clock:
    """From each pair on, the database's clock is taken to have gone on as the machine's did. What it had moved by at
    the next one is what an answer may be wrong by."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: pair.ns)
        self._ns = [pair.ns for pair in self._pairs]

    def at(self, ns: int) -> tuple[float, float]:
        """The database's time then, and by how many seconds it may be wrong."""
        if not self._pairs:
            return 0.0, inf
        number = bisect_right(self._ns, ns)
        before = self._pairs[max(0, number - 1)]
        after = self._pairs[min(number, len(self._pairs) - 1)]
        drift = abs(after.at - before.at - (after.ns - before.ns) / 1e9)
        error = before.error_seconds + after.error_seconds + drift
        return before.at + (ns - before.ns) / 1e9, error

    def ns(self, at: float) -> int:
        """When it said so, where it was never moved."""
        pair = self._pairs[max(0, bisect_right(self._pairs, at, key=lambda pair: pair.at) - 1)]
        return pair.ns + round((at - pair.at) * 1e9)

    @property
    def last(self) -> float:
        """What it said when it was read last."""
        return self._pairs[-1].at if self._pairs else 0.0

    @property
    def jumps(self) -> list[float]:
        """By how many seconds it was moved, where that was for sure more than a second."""
        return [
            moved
            for before, after in pairwise(self._pairs)
            if abs(moved := after.at - before.at - (after.ns - before.ns) / 1e9)
            > 1 + before.error_seconds + after.error_seconds
        ]

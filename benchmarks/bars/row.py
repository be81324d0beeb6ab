"""What a row of the table is, and how a ratio is taken: of pairs that were measured one after the other."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from benchmarks.bars.ground import Server

Tell: TypeAlias = Callable[[str], None]


class Figure(Struct, frozen=True, kw_only=True):
    """`at_least` or `at_most` is the bar; `of` says what was divided by what, or in what it is measured."""

    row: str
    value: float
    of: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


class Scale(Struct, frozen=True, kw_only=True):
    """How large: `rounds` of pairs, `jobs` in what is drained, and `share` of the numbers that are promised."""

    rounds: int = 3
    jobs: int = 200_000
    share: float = 0.1

    def of(self, number: int) -> int:
        return max(1, round(number * self.share))


Row: TypeAlias = Callable[[Server, Scale, Tell], Sequence[Figure]]


def paired(name: str, ours: Callable[[], float], other: Callable[[], float], scale: Scale, tell: Tell) -> float:
    """The median of the ratios of so many pairs; who comes first alternates."""
    ratios: list[float] = []
    for number in range(scale.rounds):
        first, second = (ours, other) if number % 2 == 0 else (other, ours)
        values = {first: first(), second: second()}
        ratios.append(values[ours] / values[other])
        tell(f"{name}: {values[ours]:,.0f} to {values[other]:,.0f}, {ratios[-1]:.2f}")
    return statistics.median(ratios)

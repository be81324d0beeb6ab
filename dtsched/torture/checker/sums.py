"""Percentiles, and how they are said."""

from collections.abc import Sequence
from math import ceil


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of them do not exceed. Raises ValueError of none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def in_words(seconds: Sequence[float]) -> str:
    """p50/p99/max, to a tenth of a second; a dash of none."""
    if not seconds:
        return "-"
    return "/".join(f"{value:.1f}" for value in (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)))

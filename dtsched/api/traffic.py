"""The requests of this process, counted."""

from bisect import bisect_left
from collections.abc import Iterator

from dtsched.overview import Sample

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Of the buckets for latencies, in seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traffic:
    """Counts requests by their routes, never by what was in the address: that would be without bound."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._open = 0

    def began(self) -> None:
        self._open += 1

    def ended(self) -> None:
        self._open -= 1

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """`seconds` until the answer began: a stream has no other length worth knowing."""
        place = (method if method in _METHODS else "other", route)
        answer = (*place, status)
        self._answers[answer] = self._answers.get(answer, 0) + 1
        buckets = self._buckets.get(place)
        if buckets is None:
            buckets = self._buckets[place] = [0] * (len(BOUNDS) + 1)
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[place] = self._seconds.get(place, 0.0) + seconds

    def samples(self) -> Iterator[Sample]:
        yield Sample("dtsched_api_requests_open", {}, self._open)
        for (method, route, status), count in self._answers.items():
            labels = {"method": method, "route": route, "status": str(status)}
            yield Sample("dtsched_api_requests_total", labels, count)
        for (method, route), buckets in self._buckets.items():
            place = {"method": method, "route": route}
            passed = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                passed += count
                yield Sample("dtsched_api_request_seconds_bucket", {**place, "le": bound}, passed)
            yield Sample("dtsched_api_request_seconds_sum", place, self._seconds[method, route])
            yield Sample("dtsched_api_request_seconds_count", place, passed)

"""Waiting in tests. How long something takes says how busy the machine is, which stands still for seconds now and then:
so tests assert orders and counts; and where seconds are what is promised, it is enough that one try of five keeps to
them, by a clock that stands still with the machine."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ParamSpec, Self, TypeVar, cast

PATIENCE_SECONDS = 60.0
"""What has not happened by then never will. pytest's own timeout, which prints stacks, is twice as long."""
NEVER_SECONDS = 600.0
"""An interval at the end of which no test looks: whatever waits for that hangs."""

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 5
_TICK_SECONDS = 0.02


class Late(AssertionError):
    """A bound of time was not kept to, which may have been the machine."""


def until(reached: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(_TICK_SECONDS)


async def until_async(reached: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def five_tries(test: Callable[P, T]) -> Callable[P, T]:
    """Where it is late, the test is run again with the same fixtures: a bug is late each time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TRIES - 1):
            try:
                return test(*args, **kwargs)
            except Late:
                continue
        return test(*args, **kwargs)

    @functools.wraps(test)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        for _ in range(_TRIES - 1):
            try:
                return await cast("Any", test(*args, **kwargs))
            except Late:
                continue
        return await cast("Any", test(*args, **kwargs))

    return cast("Callable[P, T]", run_async) if inspect.iscoroutinefunction(test) else run


def timely(holds: bool, *said: object) -> None:
    """Like assert, of what a machine that stands still can make untrue."""
    if not holds:
        raise Late(*said)


class Stopwatch:
    """Does not count what passes while this process, and so probably the machine, stands still."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._counting = threading.Thread(target=self._count)
        self._counting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._counting.join()

    def _count(self) -> None:
        counted = time.monotonic()
        over = False
        while not over:
            over = self._over.wait(_TICK_SECONDS)
            now = time.monotonic()
            self.seconds += min(now - counted, 5 * _TICK_SECONDS)
            counted = now


@contextmanager
def within(seconds: float) -> Generator[None]:
    """By a stopwatch that stands still with the machine."""
    with Stopwatch() as passed:
        yield
    timely(passed.seconds < seconds, f"{passed.seconds:.2f} s, not {seconds}")

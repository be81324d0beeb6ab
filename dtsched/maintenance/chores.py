"""The steps that are poked when the database says that they have something to do. Until then they go round slowly."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

SLOW_SECONDS = 120.0
"""Between the rounds of a step that is not poked: a precaution, for the database tells every few seconds what is due,
however long it has been."""


class Chores:
    """An event for each step, by the names that dtsched.chores() uses."""

    def __init__(self, *names: str) -> None:
        self.pokes: Mapping[str, asyncio.Event] = {name: asyncio.Event() for name in names}

    def tell(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.pokes:
                self.pokes[name].set()


class Nudge:
    """Tells a step that there is something for it to do, once there is one that hears; before that it finds it by
    itself."""

    def __init__(self) -> None:
        self._hears: Callable[[str], None] | None = None

    def heard_by(self, hears: Callable[[str], None]) -> None:
        self._hears = hears

    def __call__(self, name: str) -> None:
        if self._hears is not None:
            self._hears(name)

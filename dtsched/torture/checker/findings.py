"""What a checker returns."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

SHOWN = 20
"""Violations are counted to the last, and so many of them are shown."""


class Violation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`shown` are the records and rows that prove it."""

    what: str
    job: int | None = None
    key: str | None = None
    shown: list[Any] = []


class Finding(Struct, frozen=True, kw_only=True):
    """Of one invariant. `violations` are the first of `violated`. None were checked where nothing of its kind was
    written down."""

    name: str
    meaning: str
    checked: int
    violated: int
    violations: list[Violation]
    notes: list[str]


class Notebook:
    """What a checker writes down while it looks; `finding()` is the fair copy."""

    def __init__(self, name: str, meaning: str) -> None:
        self.checked = 0
        self._name = name
        self._meaning = meaning
        self._violated = 0
        self._violations: list[Violation] = []
        self._notes: list[str] = []

    def violation(
        self, what: str, *, job: int | None = None, key: str | None = None, shown: Iterable[Struct] = ()
    ) -> None:
        self._violated += 1
        if len(self._violations) < SHOWN:
            evidence = [{type(part).__name__.lower(): _plain(part)} for part in shown]
            self._violations.append(Violation(what=what, job=job, key=key, shown=evidence))

    def note(self, what: str) -> None:
        self._notes.append(what)

    def finding(self) -> Finding:
        return Finding(
            name=self._name,
            meaning=self._meaning,
            checked=self.checked,
            violated=self._violated,
            violations=self._violations,
            notes=self._notes,
        )


def _plain(part: Struct) -> dict[str, Any]:
    """As JSON has it, but for a result, which may be of any size."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(part))
    plain.pop("result", None)
    return plain

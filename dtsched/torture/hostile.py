"""Jobs at the bounds of what is legal, and just beyond them: the first are done like any others, the second are refused
before anything is written."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from dtsched.checks import MAX_ARGS_BYTES, MAX_DEPTH

UNKNOWN_TASK = "nobody.knows"
_ROOM = 400  # for the name and the braces around it


class Case(Struct, frozen=True, kw_only=True):
    """`expect`: in which states the job may be at the end; of one that is refused, none."""

    name: str
    ways: tuple[str, ...] = ("client", "function", "rest", "insert")
    payload: Callable[[], object] | None = None
    fields: Mapping[str, Any] = {}
    expect: tuple[str, ...] = ("completed",)
    must: Literal["accept", "refuse"] = "accept"


def cases() -> Sequence[Case]:
    return (*_legal(), *_illegal())


def _legal() -> Sequence[Case]:
    return (
        Case(name="huge", payload=lambda: "x" * (MAX_ARGS_BYTES - _ROOM)),
        Case(name="deep", payload=lambda: nested(MAX_DEPTH - 2)),  # a body of REST has a level of its own around args
        Case(name="unicode", payload=unicode),
        Case(name="numbers", payload=numbers),
        Case(name="members", payload=lambda: {f"{number}": number for number in range(5000)}),
        Case(name="reference", payload=lambda: {"$parent": 1}),  # without parents it means nothing
        Case(
            name="names",
            ways=("client", "rest"),
            fields={
                "limit_key": "ü" * 255,
                "tags": [f"{number:02}" + "\U0001f600" * 62 for number in range(20)],
                "correlation_id": "c" * 128,
            },
        ),
        Case(name="options", fields={"priority": 10, "max_attempts": 1000, "timeout": 366 * 86400.0}),
        Case(name="long ago", fields={"run_at": datetime(1970, 1, 1, tzinfo=UTC)}),
        # its handler wants an integer: the first attempt fails it
        Case(name="misfit", payload=lambda: "no number", fields={"task": "strict"}, expect=("failed",)),
        Case(name="unknown task", ways=("insert",), fields={"task": UNKNOWN_TASK}, expect=("ready",)),
    )


def _illegal() -> Sequence[Case]:
    return (
        _refused("nul", payload=lambda: "a\x00b"),
        _refused("surrogate", payload=lambda: "a\ud800b"),
        _refused("not a number", payload=lambda: math.nan),
        _refused("too huge", payload=lambda: "x" * (MAX_ARGS_BYTES + 1)),
        _refused("too deep", payload=lambda: nested(MAX_DEPTH + 1), ways=("client", "rest")),
        _refused("too many attempts", fields={"max_attempts": 2**31}),
        _refused("no priority", fields={"priority": 11}),
        _refused("no name", fields={"task": "a b"}),
        _refused("no timeout", fields={"timeout": -1.0}),
        _refused("long key", fields={"key": "k" * 256}),
        _refused("unknown task", ways=("client", "function", "rest"), fields={"task": UNKNOWN_TASK}),
    )


def _refused(
    name: str,
    *,
    payload: Callable[[], object] | None = None,
    ways: tuple[str, ...] = ("client", "function", "rest", "insert"),
    fields: Mapping[str, Any] | None = None,
) -> Case:
    return Case(name=name, payload=payload, ways=ways, fields=fields or {}, expect=(), must="refuse")


def nested(levels: int) -> object:
    """Args are the first level."""
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


def unicode() -> object:
    return {
        "\u202eright to left": "ﷺ\u0301\u0301\u0301",
        "astral": "\U0010ffff\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "controls": "".join(chr(code) for code in (*range(1, 32), 127, 133, 0x2028, 0xFEFF, 0xFFFE)),
        "": "a member without a name",
        "\\\"'%s{}": "\\u0000 is six letters here",
    }


def numbers() -> object:
    return [2**63 - 1, -(2**63), 2**64, 2**53 + 1, 10**30, 10**308, 1e308, -1.5e308, 2.5e-308, 0.1, -0.0, 1e-7, 1e22]

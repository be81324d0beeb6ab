"""Settings of a queue as a command line says and shows them: limit=5 rate=10/s breaker=5/1m/30s timeout=2m."""

import math
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from dtsched.errors import InvalidInput
from dtsched.limits import BREAKER, RETENTION, SETTINGS, checked_settings

NAMES = (*(name for name in SETTINGS if name != "retention"), *(f"retention.{part}" for part in RETENTION))
TAKEN_AWAY = ("", "none")

_WHOLE = ("limit", "burst", "key_limit", "key_burst", "max_attempts")
_UNITS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """As dtsched.set_queue() takes them. Raises InvalidInput for what is none, or is there twice."""
    given: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidInput(f"settings are like limit=5, not {assignment[:40]!r}", field="settings")
        if name in given:
            raise InvalidInput(f"{name} is there twice", field=name)
        given[name] = None if text in TAKEN_AWAY else value_of(name, text)
    retention = {name.partition(".")[2]: given.pop(name) for name in list(given) if name.startswith("retention.")}
    if retention and "retention" in given:
        raise InvalidInput("retention is there as a whole and in parts: give one", field="retention")
    return checked_settings({**given, "retention": retention} if retention else given)


def value_of(name: str, text: str) -> object:
    """What is none of its kind stays a text, and is refused for what it should have been."""
    if name in _WHOLE:
        return whole(text)
    if name in ("breaker", "key_breaker"):
        return breaker_of(name, text)
    return text


def whole(text: str) -> object:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def breaker_of(name: str, text: str) -> object:
    """FAILURES/WITHIN/COOLDOWN."""
    parts: list[object] = list(text.split("/"))
    if len(parts) != len(BREAKER):
        raise InvalidInput(
            f"{name} must be like 5/1m/30s: failures, within, and for how long nothing starts, not {text[:40]!r}",
            field=name,
        )
    return dict(zip(BREAKER, [whole(str(parts[0])), *parts[1:]], strict=True))


def shown_settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """In the order of their names here, as they could be typed; those that we have no word for as JSON."""
    told: list[tuple[str, str]] = []
    known = [name for name in SETTINGS if name in settings]
    for name in known + sorted(set(settings) - set(known)):
        value: object = settings[name]
        if name == "retention" and isinstance(value, dict):
            parts = cast("dict[str, object]", value)
            told += [(f"retention.{part}", shown_value("retention", one)) for part, one in sorted(parts.items())]
        else:
            told.append((name, shown_value(name, value)))
    return told


def shown_value(name: str, value: object) -> str:
    match name, value:
        case "rate" | "key_rate", int() | float():
            return rate(value)
        case "aging" | "timeout" | "retention", int() | float():
            return duration(value)
        case "breaker" | "key_breaker", dict():
            parts = cast("dict[str, float]", value)
            return f"{parts['failures']}/{duration(parts['within'])}/{duration(parts['cooldown'])}"
        case _:
            return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def duration(seconds: float) -> str:
    """Exact: 600 is 10m, 90 is 90s."""
    for unit, size in _UNITS:
        count = round(seconds / size, 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"


def rate(per_second: float) -> str:
    """As 10/s, 100/m, 5000/h or 1/d: the first that is a whole number, else so many a second."""
    for unit, size in (("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)):
        count = per_second * size
        if round(count) >= 1 and math.isclose(count, round(count), rel_tol=1e-9):
            return f"{round(count)}/{unit}"
    return f"{per_second:g}/s"

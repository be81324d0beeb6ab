"""What settings of a queue and limits of a limit key may be: checked before anything is sent, in the words of
dtsched.settings_problem(). Pure."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

from dtsched.checks import MAX_SECONDS
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, check
from dtsched.settings import parse_duration

SETTINGS = (
    "limit", "rate", "burst", "key_limit", "key_rate", "key_burst", "aging", "max_attempts", "timeout", "retention",
    "breaker", "key_breaker",
)  # fmt: skip
RETENTION = ("completed", "failed", "cancelled", "results")
BREAKER = ("failures", "within", "cooldown")

MOST_JOBS = 999_999_999
LOWEST_RATE = 0.000001
HIGHEST_RATE = 1_000_000.0
LONGEST_AGING = 30 * 86400.0
LONGEST_RETENTION = 100 * MAX_SECONDS

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:/(s|m|h|d))?")
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class KeyLimit(NamedTuple):
    """What set_limit() takes. None is as the queue of a job says."""

    key: str
    concurrency: int | None = None
    rate: float | None = None
    burst: int | None = None


def checked_settings(settings: object) -> dict[str, Any]:
    """As dtsched.set_queue() takes them. Durations may be like "10m" and rates like "100/m". Raises InvalidInput with
    the setting."""
    if not isinstance(settings, Mapping):
        raise InvalidInput(f"settings must be an object, not {_shown(settings)}", field="settings")
    given = cast("Mapping[object, object]", settings)
    return {
        str(name): _checked(name, given[name]) for name in sorted(given, key=lambda name: (len(str(name)), str(name)))
    }


def checked_limit(key: str, concurrency: object = None, rate: object = None, burst: object = None) -> KeyLimit:
    """As dtsched.set_limit() takes them."""
    check(NewJob(task="any", limit_key=key))
    return KeyLimit(
        key,
        None if concurrency is None else _jobs("concurrency", concurrency, 0),
        None if rate is None else _rate("rate", rate),
        None if burst is None else _jobs("burst", burst, 1),
    )


def _checked(name: object, value: object) -> object:
    if name not in _CHECKS:
        raise InvalidInput(
            f"there is no setting {_shown(name)}: known are {', '.join(SETTINGS)}",
            field=name if isinstance(name, str) else "settings",
        )
    return None if value is None else _CHECKS[cast("str", name)](cast("str", name), value)


def _jobs(name: str, value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= MOST_JOBS:
        raise _refused(name, f"must be a whole number of jobs from {least}", value)
    return value


def _rate(name: str, value: object) -> float:
    rate = _number(_per_second(value))
    if rate is None or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise _refused(name, "must be a number of jobs a second from 0.000001 to 1000000", value)
    return rate


def _aging(name: str, value: object) -> float:
    seconds = _number(_seconds(value))
    if seconds is None or not 1 <= seconds <= LONGEST_AGING:
        raise _refused(name, "must be 1 second to 30 days, in seconds", value)
    return seconds


def _attempts(name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= 1000:
        raise _refused(name, "must be 1 to 1000", value)
    return value


def _timeout(name: str, value: object) -> float:
    seconds = _number(_seconds(value))
    if seconds is None or not 0 < seconds <= MAX_SECONDS:
        raise _refused(name, "must be over 0 and at most 366 days, in seconds", value)
    return seconds


def _breaker(name: str, value: object) -> dict[str, object]:
    parts = _parts(value)
    failures = parts.get("failures")
    within, cooldown = _number(_seconds(parts.get("within"))), _number(_seconds(parts.get("cooldown")))
    if (
        parts.keys() != set(BREAKER)
        or type(failures) is not int
        or not 1 <= failures <= 1000
        or within is None
        or cooldown is None
        or not all(0.001 <= seconds <= MAX_SECONDS for seconds in (within, cooldown))
    ):
        raise _refused(
            name,
            "must be an object of failures (1 to 1000), within and cooldown (seconds over 0, at most 366 days)",
            value,
        )
    return {"failures": failures, "within": within, "cooldown": cooldown}


def _retention(name: str, value: object) -> dict[object, object]:
    parts = _parts(value)
    kept = {part: one if one in (None, "forever") else _number(_seconds(one)) for part, one in parts.items()}
    if (
        not _is_object(value)
        or not parts.keys() <= set(RETENTION)
        or any(kept[part] is None and one is not None for part, one in parts.items())
        or any(isinstance(one, int | float) and not 0 <= one <= LONGEST_RETENTION for one in kept.values())
    ):
        raise _refused(
            name, 'must be an object of completed, failed, cancelled and results, each in seconds or "forever"', value
        )
    return {**kept}


_CHECKS: dict[object, Callable[[str, object], object]] = {
    **dict.fromkeys(("limit", "key_limit"), lambda name, value: _jobs(name, value, 0)),
    **dict.fromkeys(("burst", "key_burst"), lambda name, value: _jobs(name, value, 1)),
    **dict.fromkeys(("rate", "key_rate"), _rate),
    **dict.fromkeys(("breaker", "key_breaker"), _breaker),
    "aging": _aging,
    "max_attempts": _attempts,
    "timeout": _timeout,
    "retention": _retention,
}


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _parts(value: object) -> dict[object, object]:
    return dict(cast("Mapping[object, object]", value)) if _is_object(value) else {}


def _number(value: object) -> float | None:
    """A bool is none, nor is what no document could hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return value


def _seconds(value: object) -> object:
    """Of a text like "10m"; what is no duration stays as it is, and is refused for what it should have been."""
    if isinstance(value, str):
        with suppress(InvalidInput):
            return parse_duration(value)
    return value


def _per_second(value: object) -> object:
    """Of a text like "10/s", "100/m", "5000/h" or "1/d"."""
    if isinstance(value, str) and (found := _RATE.fullmatch(value.strip())):
        return float(found[1]) / _PER[found[2] or "s"]
    return value


def _refused(name: str, rule: str, value: object) -> InvalidInput:
    return InvalidInput(f"{name} {rule}, not {_shown(value)}", field=name)


def _shown(value: object) -> str:
    """As dtsched.shown() writes it: JSON, cut to 60 characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."

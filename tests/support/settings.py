"""Settings of a queue, good and bad, for all doors: what is refused is refused with the same sentence."""

from typing import NamedTuple

_JOBS = "must be a whole number of jobs from"
_RATE = "must be a number of jobs a second from 0.000001 to 1000000"
_AGING = "must be 1 second to 30 days, in seconds"
_TIMEOUT = "must be over 0 and at most 366 days, in seconds"
_BREAKER = "must be an object of failures (1 to 1000), within and cooldown (seconds over 0, at most 366 days)"
_RETENTION = 'must be an object of completed, failed, cancelled and results, each in seconds or "forever"'


class Case(NamedTuple):
    """`says`: how the refusal begins, None where there is none. `is_text`: only SQL does not read it."""

    name: str
    value: object
    says: str | None = None
    is_text: bool = False


def breaker(failures: object = 3, within: object = 60, cooldown: object = 30, **more: object) -> dict[str, object]:
    return {"failures": failures, "within": within, "cooldown": cooldown, **more}


SETTINGS = [
    *(Case(name, value) for name in ("limit", "key_limit") for value in (None, 0, 999_999_999)),
    *(Case(name, 1) for name in ("burst", "key_burst")),
    *(Case(name, value) for name in ("rate", "key_rate") for value in (0.000001, 0.5, 1_000_000)),
    *(Case("rate", value, is_text=True) for value in ("10/s", "100/m", "5000/h", "1/d", "0.5")),
    *(Case("aging", value) for value in (1, 600, 30 * 86400)),
    *(Case(name, value, is_text=True) for name in ("aging", "timeout") for value in ("10m", "1.5h")),
    *(Case("timeout", value) for value in (0.5, 366 * 86400)),
    *(Case("max_attempts", value) for value in (1, 1000)),
    *(Case(name, value) for name in ("breaker", "key_breaker") for value in (breaker(), breaker(1000, 0.001, 0.001))),
    Case("breaker", breaker(3, "1m", "30s"), is_text=True),
    *(Case("retention", value) for value in ({}, {"failed": 0, "completed": "forever", "results": None})),
    Case("retention", {"failed": "30d"}, is_text=True),
    *(Case("limit", value, f"limit {_JOBS} 0") for value in (-1, 1.5, "3", True, 1_000_000_000, [1])),
    *(Case("key_burst", value, f"key_burst {_JOBS} 1") for value in (0, -1, 2.5, "x", False)),
    *(Case("rate", value, f"rate {_RATE}") for value in (0, -1, 1e-7, 1e7, True, "fast", "10/y")),
    *(Case("aging", value, f"aging {_AGING}") for value in (0.5, 30 * 86400 + 1, "soon", True)),
    *(Case("max_attempts", value, "max_attempts must be 1 to 1000") for value in (0, 1001, 2.5, "3", True)),
    *(Case("timeout", value, f"timeout {_TIMEOUT}") for value in (0, -1, 366 * 86400 + 1, "soon", False)),
    *(
        Case("breaker", value, f"breaker {_BREAKER}")
        for value in (
            {},
            3,
            "3/1m/30s",
            {"failures": 3, "within": 60},
            breaker(0),
            breaker(1001),
            breaker(2.5),
            breaker("3"),
            breaker(within=0),
            breaker(cooldown=366 * 86400 + 1),
            breaker(within="soon"),
            breaker(within=None),
            breaker(more=1),
        )
    ),
    *(
        Case("retention", value, f"retention {_RETENTION}")
        for value in ("forever", 3, {"done": 1}, {"failed": -1}, {"failed": "never"}, {"failed": True})
    ),
    Case("speed", 1, 'there is no setting "speed": known are limit, rate, burst, key_limit'),
]

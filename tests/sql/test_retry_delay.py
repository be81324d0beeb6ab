"""How long the next attempt is waited for: each kind of backoff, its cap, and the bounds of its jitter."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.sql.sessions import Session

ATTEMPTS = range(1, 9)


def delays(session: Session, backoff: dict[str, object]) -> list[float]:
    return session.column(
        "select dtsched.retry_delay(%s, attempt) from unnest(%s::integer[]) attempt", Jsonb(backoff), list(ATTEMPTS)
    )


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ({"kind": "fixed", "base": 3}, [3] * 8),
        ({"kind": "fixed", "base": 30, "cap": 20}, [20] * 8),
        ({"kind": "linear", "base": 3}, [3, 6, 9, 12, 15, 18, 21, 24]),
        ({"kind": "linear", "base": 3, "cap": 10}, [3, 6, 9, 10, 10, 10, 10, 10]),
        ({"kind": "exponential", "base": 3}, [3, 6, 12, 24, 48, 96, 192, 384]),
        ({"kind": "exponential", "base": 3, "cap": 24}, [3, 6, 12, 24, 24, 24, 24, 24]),
        ({"kind": "exponential", "base": 0}, [0] * 8),
        ({"kind": "exponential"}, [2, 4, 8, 16, 32, 64, 128, 256]),
    ],
)
def test_without_jitter_the_wait_is_exact(session: Session, backoff: dict[str, object], expected: list[float]):
    assert delays(session, {**backoff, "jitter": 0}) == expected


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1])
def test_jitter_spreads_the_wait_evenly_between_its_bounds_and_no_further(session: Session, jitter: float):
    low, high, mean = session.rows(
        "select min(d), max(d), avg(d) from (select dtsched.retry_delay(%s, 1) as d from generate_series(1, 5000)) d",
        Jsonb({"kind": "fixed", "base": 100, "jitter": jitter}),
    )[0]
    assert 100 * (1 - jitter) <= low < 100 * (1 - 0.99 * jitter)
    assert 100 * (1 + 0.99 * jitter) < high <= 100 * (1 + jitter)
    assert abs(mean - 100) < 3


def test_the_cap_holds_before_the_jitter_so_that_capped_waits_are_spread_too(session: Session):
    capped = {"kind": "exponential", "base": 2, "cap": 100, "jitter": 0.25}
    low, high = session.rows(
        "select min(d), max(d) from (select dtsched.retry_delay(%s, 1000) as d from generate_series(1, 2000)) drawn",
        Jsonb(capped),
    )[0]
    assert 75 <= low < 80
    assert 120 < high <= 125

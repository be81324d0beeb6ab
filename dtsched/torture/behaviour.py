"""What each attempt of a job is to do. Pure: the seed, the job's name and the number of the attempt decide, and not who
comes first; so the checker knows what every handler was told.

A key is kind-submitter-number; its kind says what may become of it. What fails for some attempts fails for the first
few, so that attempts which a crash has cost change nothing in how the job ends.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Literal

from msgspec import Struct

from dtsched.torture.plan import dice

Act = Literal["return", "raise", "retry", "fail", "snooze", "sleep", "overrun", "fork", "spawn"]
"""As answers has them; `sleep` is a durable one, `overrun` goes on until its timeout ends it, `fork` and `spawn` return
after they have started a process. A snooze and a sleep come once in a job's life: they cost no attempt."""

Death = Literal["kill", "exit", "segfault", "recursion", "memory"]

MOST_FAILURES = 3
DEATHS: tuple[Death, ...] = ("kill", "exit", "segfault", "recursion", "memory")


class Behaviour(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`ms` of work, which tells its progress so many times; then the act. `delay_ms` is that of a retry, a snooze and a
    sleep. A stubborn one swallows the first cancellation and goes on."""

    act: Act = "return"
    ms: int = 0
    delay_ms: int = 0
    progress: int = 0
    stubborn: bool = False
    death: Death | None = None


def kind_of(key: str) -> str:
    return key.partition("-")[0]


def behaviour(seed: int, key: str, attempt: int) -> Behaviour:
    draw = _KINDS.get(kind_of(key))
    return Behaviour() if draw is None else draw(dice(seed, key), dice(seed, f"{key}/{attempt}"), attempt)


def is_doomed(seed: int, key: str) -> bool:
    """Of a job in a graph: it fails, whatever else happens."""
    return dice(seed, key).random() < 0.2


# Each takes the dice of the job, those of the attempt, and its number.
Draw = Callable[[Random, Random, int], Behaviour]


def _quick(_job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(ms=dice.choice((0, 0, 0, 0, 1, 2, 5, 20)))


def _retrying(job: Random, dice: Random, attempt: int) -> Behaviour:
    if attempt > job.randint(1, MOST_FAILURES):
        return Behaviour(ms=dice.randint(0, 10))
    if dice.random() < 0.5:
        return Behaviour(act="raise", ms=dice.randint(0, 10))
    return Behaviour(act="retry", ms=dice.randint(0, 10), delay_ms=dice.randint(0, 800))


def _failing(_job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(act=dice.choice(("raise", "raise", "retry", "fail")), ms=dice.randint(0, 10))


def _overrunning(job: Random, dice: Random, attempt: int) -> Behaviour:
    return Behaviour(act="overrun" if attempt <= job.randint(1, 2) else "return", ms=dice.randint(0, 20))


def _long(_job: Random, dice: Random, _attempt: int) -> Behaviour:
    """One in eight outlives any lease that is not renewed."""
    return Behaviour(ms=dice.randint(6000, 9000) if dice.random() < 0.125 else dice.randint(500, 3000), progress=10)


def _limited(_job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(ms=dice.randint(5, 150))


def _in_turn(_job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(ms=dice.randint(0, 30))


def _napping(job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(act=job.choice(("snooze", "sleep")), ms=dice.randint(0, 10), delay_ms=dice.randint(50, 1500))


def _cancelled(job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(ms=dice.randint(300, 2500), progress=5, stubborn=job.random() < 0.25)


def _in_a_graph(job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(act="fail" if job.random() < 0.2 else "return", ms=dice.randint(0, 60))


def _over_http(job: Random, dice: Random, attempt: int) -> Behaviour:
    if attempt <= job.choice((0, 0, 0, 0, 1, 2)):
        return Behaviour(act="retry", ms=dice.randint(0, 50), delay_ms=dice.randint(0, 500))
    act: Act = "snooze" if job.random() < 0.1 else "return"
    return Behaviour(act=act, ms=dice.choice((0, 0, 5, 50, 400)), delay_ms=dice.randint(0, 500), progress=2)


def _multiplying(job: Random, dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(act=job.choice(("fork", "spawn")), ms=dice.randint(0, 200), delay_ms=1000)


def _poisoned(job: Random, _dice: Random, _attempt: int) -> Behaviour:
    return Behaviour(act="raise", death=job.choice(DEATHS))


_KINDS: Mapping[str, Draw] = {
    "plain": _quick,
    "retrying": _retrying,
    "failing": _failing,
    "overrunning": _overrunning,
    "long": _long,
    "unique": _quick,
    "limited": _limited,
    "fifo": _in_turn,
    "dag": _in_a_graph,
    "napping": _napping,
    "delayed": _quick,
    "cancelled": _cancelled,
    "outbox": _quick,
    "exact": _quick,
    "http": _over_http,
    "multiplying": _multiplying,
    "poison": _poisoned,
}

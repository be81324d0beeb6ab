"""How a fault hits a worker: it is frozen first, so that what it holds can be read while it cannot change."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from time import monotonic, sleep
from typing import LiteralString

import psycopg

from dtsched.torture.faults.base import Member, Stage

_LOOK_SECONDS = 0.02
_ANSWER_SECONDS = 1.0

_ASKING: LiteralString = """
    select pid, query_start from pg_stat_activity
    where datname = current_database() and starts_with(application_name, 'dtsched ') and state = 'active'"""


def send(member: Member, number: signal.Signals) -> None:
    if member.alive:  # not reaped: the number is still its own
        with suppress(ProcessLookupError):
            os.kill(member.pid, number)


def freeze(stage: Stage, members: Sequence[Member]) -> list[int]:
    """Returns what they hold once all that they have asked for is done."""
    for member in members:
        member.freeze()
    _until_answered(stage)
    return sorted({job for member in members for job in stage.in_flight(member)})


def _until_answered(stage: Stage) -> None:
    """Statements go on without those who sent them: one that finishes a job may commit after a look at the leases."""
    with suppress(psycopg.Error, OSError, ValueError), stage.connect(application="torture look") as connection:
        asked = set(connection.execute(_ASKING).fetchall())
        deadline = monotonic() + _ANSWER_SECONDS
        while asked and monotonic() < deadline:
            sleep(_LOOK_SECONDS)
            asked.intersection_update(connection.execute(_ASKING).fetchall())


def thaw(members: Sequence[Member]) -> None:
    for member in members:
        member.thaw()


def kill(stage: Stage, members: Sequence[Member]) -> list[int]:
    """Returns what they held."""
    held = freeze(stage, members)
    for member in members:
        stage.expect_exit(member)
        send(member, signal.SIGKILL)
    return held


async def busy_workers(stage: Stage, random: Random, *, most: int = 1, seconds: float = 10.0) -> list[Member]:
    """At most so many of those that hold jobs and that nobody has frozen; as soon as one does, and none when the time
    is over."""
    deadline = monotonic() + seconds
    while True:
        workers = [worker for worker in stage.members("worker") if not worker.frozen]
        random.shuffle(workers)
        busy = [worker for worker in workers if stage.in_flight(worker)]
        if busy or monotonic() > deadline:
            return busy[:most]
        await asyncio.sleep(_LOOK_SECONDS)


def some(stage: Stage, random: Random) -> int:
    """How many workers to hit: one or more, and never all where there are several."""
    return random.randint(1, max(1, len(stage.members("worker")) // 2))


async def until_gone(member: Member, seconds: float) -> bool:
    """Whether it ended in that time."""
    deadline = monotonic() + seconds
    while member.alive:
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True

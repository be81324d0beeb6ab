"""Group B, NOTIFY: a storm of them, and those that are lost, repeated, malformed or nobody's."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import ClassVar, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.jobs import orders, submit_aside, submit_on
from dtsched.torture.faults.servers import Defaults, busy, when_it_answers

CHANNELS = ("dtsched_wake", "dtsched_done", "dtsched_cancel", "dtsched_due", "dtsched_pause")

_STRANGER = "torture_stranger"
_WAITS: LiteralString = """
    select count(*) from pg_locks where not granted and locktype = 'object' and classid = 'pg_database'::regclass"""


class NotifyStorm(Fault):
    """F28. Many submit at the same time, one job a transaction. Noted: how long that took, and how many commits were
    seen waiting for the lock that a NOTIFY takes."""

    number = "F28"
    title = "storm of submissions, each with its own commit"
    strikes = 2
    group: ClassVar[Group] = "postgres"

    submitters: ClassVar[int] = 40
    each: ClassVar[int] = 10

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._seconds: list[float] = []
        self._jobs: list[int] = []

    async def inject(self, stage: Stage) -> Sequence[int]:
        threads = [
            Thread(target=self._submit, args=(stage, Random(self.random.getrandbits(64))), daemon=True)
            for _ in range(self.submitters)
        ]
        for thread in threads:
            thread.start()
        waits = 0
        with stage.connect(application="torture look") as connection:
            while any(thread.is_alive() for thread in threads):
                row = connection.execute(_WAITS).fetchone()
                waits = max(waits, row[0] if row else 0)
                await asyncio.sleep(0.02)
        took = sorted(self._seconds)
        stage.record(
            "fault",
            "info",
            fault=self.number,
            submissions=len(took),
            p50_ms=round(1000 * took[len(took) // 2], 1) if took else None,
            p99_ms=round(1000 * took[len(took) * 99 // 100], 1) if took else None,
            most_commits_waiting=waits,
        )
        return sorted(self._jobs)

    def _submit(self, stage: Stage, dice: Random) -> None:
        with suppress(psycopg.OperationalError), stage.connect(application="torture storm") as connection:
            for order in orders(dice, self.each, "do_nothing"):
                began = monotonic()
                self._jobs += submit_on(stage, connection, [order])
                self._seconds.append(monotonic() - began)


class SpoofedNotifications(Fault):
    """F29. From a role that may do nothing else; some are malformed, some name real queues, jobs and workers. True ones
    are not sent meanwhile, or they are lost: jobs come into a queue of which nobody hears."""

    number = "F29"
    title = "notifications lost, repeated, malformed and spoofed"
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (3.0, 9.0)
    jobs: ClassVar[int] = 3
    silenced: ClassVar[float] = 0.5
    """So often true ones are not sent meanwhile."""
    lull_seconds: ClassVar[float] = 0.0
    """For so long at most it first waits until nothing is ready: workers behind a backlog need no notification."""
    settled_seconds: ClassVar[float] = 1.0
    """In which workers whose sessions were ended have looked at all their queues again, and gone to sleep."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._over = Event()
        self._thread: Thread | None = None
        self._silence = Defaults()
        self._injected = False

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._injected = True
        with stage.connect(application="torture fault") as connection:
            _drop_stranger(connection)
            connection.execute(sql.SQL("create role {}").format(sql.Identifier(_STRANGER)))
        await _lull(stage, seconds=self.lull_seconds)
        if self.random.random() < self.silenced:
            self._silence.set(stage, {"dtsched.notify": "off"})
        exposed = await busy(stage)
        self._thread = Thread(target=self._spoof, args=(stage, exposed), name="torture-spoof", daemon=True)
        self._thread.start()
        await asyncio.sleep(self.settled_seconds)
        await submit_aside(stage, orders(self.random, self.jobs, "be_found"))
        return exposed

    def _spoof(self, stage: Stage, jobs: Sequence[int]) -> None:
        payloads = [
            *("", "{bad", "null", "-1", "9" * 40, "default", "no such queue", "\x01\x1b[31m", "é" * 3000, "x" * 7999),
            *(str(job) for job in jobs),
            *(f"default 5 {self.random.randrange(1000)} {job}" for job in jobs),
            ",".join(str(job) for job in range(1000)),
            *(str(UUID(int=self.random.getrandbits(128))) for _ in range(3)),
        ]
        while not self._over.is_set():
            with suppress(psycopg.OperationalError, OSError, ValueError):
                self._say(stage, payloads)
            self._over.wait(0.05)

    def _say(self, stage: Stage, payloads: Sequence[str]) -> None:
        with stage.connect(application="torture spoof") as connection:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(_STRANGER)))
            while not self._over.wait(0.01):
                said = self.random.choice(CHANNELS), self.random.choice(payloads)
                connection.execute("select pg_notify(%s, %s) from generate_series(1, 2)", said)

    async def heal(self, stage: Stage) -> None:
        self._over.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await self._silence.reset(stage)
        if self._injected:
            await when_it_answers(stage, _drop_stranger)
            self._injected = False


async def _lull(stage: Stage, *, seconds: float) -> None:
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        with stage.connect(application="torture look") as connection:
            if connection.execute("select from dtsched.ready limit 1").fetchone() is None:
                return
        await asyncio.sleep(0.1)


def _drop_stranger(connection: psycopg.Connection) -> None:
    connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(_STRANGER)))

"""Group B, transactions of others: they pin what is dead, lock rows and tables, and get into each other's way."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import ClassVar, Literal, LiteralString

import psycopg
from psycopg import sql

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.jobs import orders, submit_aside
from dtsched.torture.faults.servers import busy

_SLOT = "torture_idle"
_DROP_SLOT: LiteralString = """
    select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s"""
_ACTIONS: Mapping[Literal["cancel", "retry"], LiteralString] = {
    "cancel": "select job_id, outcome from dtsched.cancel(%s::bigint[])",
    "retry": "select job_id, outcome from dtsched.retry(%s::bigint[])",
}
_HURRY: LiteralString = "select dtsched.run_now(%s::bigint[])"
_DEADLOCKS: LiteralString = "select deadlocks from pg_stat_database where datname = current_database()"


class Holder(Fault):
    """One transaction of its own, from inject() to heal()."""

    group: ClassVar[Group] = "postgres"

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._connection: psycopg.Connection | None = None

    def begin(self, stage: Stage) -> psycopg.Connection:
        self._connection = stage.connect(application="torture holder")
        self._connection.execute("set idle_in_transaction_session_timeout = 0")
        return self._connection

    async def heal(self, stage: Stage) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PinnedHorizon(Holder):
    """F30. Nothing that dies meanwhile can be vacuumed; and no WAL is removed, for a replication slot that nobody
    reads."""

    number = "F30"
    title = "a snapshot that pins dead rows, and an idle replication slot"
    takes = 1.0
    lasts: ClassVar[tuple[float, float]] = (10.0, 20.0)

    async def inject(self, stage: Stage) -> Sequence[int]:
        connection = self.begin(stage)
        connection.execute(_DROP_SLOT, (_SLOT,))
        connection.execute("select pg_create_physical_replication_slot(%s, true)", (_SLOT,))
        connection.execute("begin isolation level repeatable read")
        connection.execute("select count(*) from dtsched.leases")
        return await busy(stage)

    async def heal(self, stage: Stage) -> None:
        await super().heal(stage)
        with stage.connect(application="torture fault") as connection:
            connection.execute(_DROP_SLOT, (_SLOT,))


class LockedRows(Holder):
    """F31. Exposed are the jobs whose rows are held: they may end only afterwards, and no others wait for them."""

    number = "F31"
    title = "rows of running jobs locked by a transaction that does nothing more"
    takes = 1.0
    lasts: ClassVar[tuple[float, float]] = (1.0, 8.0)

    async def inject(self, stage: Stage) -> Sequence[int]:
        deadline = monotonic() + 3.0
        connection = self.begin(stage)
        connection.execute("begin")
        while True:
            jobs = await busy(stage, seconds=1.0)
            some = self.random.sample(jobs, (len(jobs) + 1) // 2)
            rows = connection.execute(
                """select id from dtsched.jobs where id = any (%s) and state = 'running'
                order by id for update skip locked""",
                (some,),
            ).fetchall()
            if rows or monotonic() > deadline:
                return [job for (job,) in rows]


class LockedTable(Holder):
    """F32. As a migration of somebody else's would, or a VACUUM FULL. Leases run out where nobody can renew them, for
    longer than they last: nobody may take the jobs of those who live."""

    number = "F32"
    title = "a table in ACCESS EXCLUSIVE mode for longer than a lease"
    lasts: ClassVar[tuple[float, float]] = (20.0, 20.0)
    heavy = True

    tables: ClassVar[Sequence[str]] = ("jobs", "leases", "ready", "scheduled", "workers")

    async def inject(self, stage: Stage) -> Sequence[int]:
        connection = self.begin(stage)
        exposed = await busy(stage)
        connection.execute("begin")
        name = sql.Identifier("dtsched", self.random.choice(self.tables))
        await asyncio.to_thread(connection.execute, sql.SQL("lock table {} in access exclusive mode").format(name))
        return exposed


class DeadlockPressure(Fault):
    """F34. Sessions that cancel, bring back and hurry overlapping jobs, each in an order of its own, while workers run
    and end them. Noted are the deadlocks that the server has found meanwhile, of how many transactions."""

    number = "F34"
    title = "overlapping bulk actions on jobs that run, in any order"
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (3.0, 8.0)

    sessions: ClassVar[int] = 4
    jobs: ClassVar[int] = 40

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._over = Event()
        self._threads: list[Thread] = []
        self._keys: dict[int, str] = {}
        self._before = 0
        self._done, self._retried = 0, 0
        self._wrong: list[str] = []

    async def inject(self, stage: Stage) -> Sequence[int]:
        wanted = orders(self.random, self.jobs, "take_time", {"seconds": 0.1}, expect=("completed", "cancelled"))
        self._keys = dict(zip(await submit_aside(stage, wanted), (one.key for one in wanted), strict=True))
        self._before = self._deadlocks(stage)
        for _ in range(self.sessions):
            dice = Random(self.random.getrandbits(64))
            self._threads.append(Thread(target=self._press, args=(stage, dice), name="torture-press", daemon=True))
            self._threads[-1].start()
        return [*self._keys]

    def _press(self, stage: Stage, dice: Random) -> None:
        while not self._over.is_set():
            try:
                with stage.connect(application="torture press") as connection:
                    while not self._over.wait(0.02):
                        self._act(stage, connection, dice)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                self._retried += 1
            except (psycopg.OperationalError, OSError, ValueError):  # the server is away
                self._over.wait(0.1)
            except psycopg.Error as error:
                self._wrong.append(str(error))
                return

    def _act(self, stage: Stage, connection: psycopg.Connection, dice: Random) -> None:
        op: Literal["cancel", "retry"] | None = dice.choice(("cancel", "retry", None))
        some = dice.sample([*self._keys], len(self._keys) // 2)
        if op is None:
            connection.execute(_HURRY, (some,))
        else:
            for job in some:
                stage.record(op, "invoke", key=self._keys[job], job=job)
            try:
                rows = connection.execute(_ACTIONS[op], (some,)).fetchall()
            except psycopg.Error as error:
                phase = "info" if connection.broken else "fail"
                for job in some:
                    stage.record(op, phase, key=self._keys[job], job=job, error=type(error).__name__)
                raise
            for job, outcome in rows:
                stage.record(op, "ok", key=self._keys[job], job=job, outcome=outcome)
        self._done += 1

    def _deadlocks(self, stage: Stage) -> int:
        with stage.connect(application="torture look") as connection:
            row = connection.execute(_DEADLOCKS).fetchone()
            assert row is not None
            return row[0]

    async def heal(self, stage: Stage) -> None:
        self._over.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        if self._threads:
            self._threads = []
            stage.record(
                "fault",
                "info",
                fault=self.number,
                transactions=self._done,
                deadlocks=self._deadlocks(stage) - self._before,
                retried=self._retried,
                wrong=self._wrong,
            )

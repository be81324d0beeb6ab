"""Group B, the schema: migrations that are killed, an index that was left invalid, and numbers near their end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from time import monotonic
from typing import ClassVar, Literal, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dtsched import migrations
from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.jobs import orders, submit_aside
from dtsched.torture.faults.servers import busy, when_it_answers
from dtsched.torture.members import without_settings

_SCRATCH = "torture_scratch"
_SEQUENCES: Sequence[LiteralString] = ("dtsched.job_id_seq", "dtsched.lease_id_seq")
_END = 2**53 - 2
_MARGIN = 100_000
"""More numbers than anybody takes between two statements."""


class KilledMigration(Fault):
    """F38. Of a database beside the stage's: killed with its session, killed alone, or its session ended; another one
    is then not kept waiting. And in the stage's own an index that nobody needs is left invalid."""

    number = "F38"
    title = "migration killed, and an index left invalid by CREATE INDEX CONCURRENTLY"
    takes = 8.0
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (0.0, 2.0)

    times: ClassVar[int] = 2
    seconds: ClassVar[tuple[float, float]] = (0.5, 2.0)

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._injected = False

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await busy(stage)
        self._injected = True
        with stage.connect(application="torture fault") as connection:
            await asyncio.to_thread(_make_scratch, connection)
            for _ in range(self.times):
                await self._kill_one(stage, connection)
            began = monotonic()
            await asyncio.to_thread(migrations.up, _scratch(stage))
            stage.record("fault", "info", fault=self.number, migrated_in_seconds=round(monotonic() - began, 1))
            await asyncio.to_thread(_drop_scratch, connection)
            await asyncio.to_thread(_leave_index, connection)
        return exposed

    async def _kill_one(self, stage: Stage, connection: psycopg.Connection) -> None:
        with subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-P", "-m", "dtsched", "migrate", "up"],
            env={**without_settings(os.environ), "DTSCHED_DSN": _scratch(stage)},
            cwd=stage.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            await asyncio.sleep(self.random.uniform(*self.seconds))
            if self.random.random() < 0.5:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (_SCRATCH,)
                )
            process.send_signal(signal.SIGKILL)

    async def heal(self, stage: Stage) -> None:
        if self._injected:
            await when_it_answers(stage, _clean_up)
            self._injected = False


def _scratch(stage: Stage) -> str:
    return make_conninfo(stage.cluster.dsn, dbname=_SCRATCH)


def _leave_index(connection: psycopg.Connection) -> None:
    """It waits for whoever has a snapshot, which may be another fault."""
    with suppress(psycopg.errors.UniqueViolation):  # there are two workers, or the index comes to be, and goes
        connection.execute("create unique index concurrently torture_invalid_idx on dtsched.workers ((lease > '0 s'))")


def _clean_up(connection: psycopg.Connection) -> None:
    _drop_scratch(connection)
    connection.execute("drop index concurrently if exists dtsched.torture_invalid_idx")


def _make_scratch(connection: psycopg.Connection) -> None:
    _drop_scratch(connection)
    connection.execute(sql.SQL("create database {}").format(sql.Identifier(_SCRATCH)))


def _drop_scratch(connection: psycopg.Connection) -> None:
    """It waits for all sessions of the server, also for one whose client does not read: that may be another fault."""
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(_SCRATCH)))


class SequencesNearTheirEnd(Fault):
    """F40. Either ids pass 2^31 for good, or there are two left of them, and nobody gets one after those until it is
    healed: nothing is submitted, or nothing claimed, and what runs goes on."""

    number = "F40"
    title = "ids of jobs and leases pass 2^31, or come to their end"
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (1.0, 3.0)

    ways: ClassVar[Sequence[Literal["half", "end"]]] = ("half", "end")

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._before: dict[LiteralString, int] = {}

    async def inject(self, stage: Stage) -> Sequence[int]:
        way = self.random.choice(self.ways)
        exposed = await busy(stage)
        with stage.connect(application="torture fault") as connection:
            for sequence in _SEQUENCES:
                if way == "half":
                    connection.execute(
                        "select setval(%s::regclass, greatest(nextval(%s::regclass), %s))",
                        (sequence, sequence, 2**31 - 3),
                    )
                else:
                    row = connection.execute("select nextval(%s::regclass)", (sequence,)).fetchone()
                    assert row is not None
                    self._before[sequence] = row[0]
                    connection.execute("select setval(%s::regclass, %s)", (sequence, _END))
        if way == "half":
            exposed += await submit_aside(stage, orders(self.random, 10, "do_nothing"))
        return exposed

    async def heal(self, stage: Stage) -> None:
        if self._before:
            await when_it_answers(stage, self._set_back)
            self._before = {}

    def _set_back(self, connection: psycopg.Connection) -> None:
        for sequence, value in self._before.items():
            connection.execute("select setval(%s::regclass, %s)", (sequence, value + _MARGIN))

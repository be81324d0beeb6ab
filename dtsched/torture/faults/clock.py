"""Group C, clocks: of workers, of the database, and of schedules whose ticks come while nobody is there to fire them.

Only the database's clock decides anything, so a worker's may show what it likes. That of the database is
`dtsched.now()`, which is what F49 replaces, as tests do: everything that the schema decides by time jumps at once and
for all sessions, and the server need not be started again under libfaketime, which would be another fault (F19). What
that does not show is PostgreSQL's own timers: statement_timeout and its like, and autovacuum.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from time import monotonic_ns
from typing import ClassVar, LiteralString, cast

import psycopg

from dtsched.torture.faults.base import Fault, Group, Member, Stage
from dtsched.torture.faults.servers import busy

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")
_START_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0
_BACK_SECONDS = 3600
_SHOWS = ("+1h", "-1h", "+0", "-1s", "+1y", "-30d")


def libfaketime() -> Path | None:
    """Of Debian's package `libfaketime`, which `faketime` brings along."""
    return next((path for pattern in _LIBRARIES for path in sorted(Path("/").glob(pattern[1:]))), None)


class WorkerClock(Fault):
    """One more worker, whose clock is an hour off and jumps every second: forward, back, by a leap second, by a year.
    What it measures durations with goes on as it should, as it does on a machine whose clock is set; but libfaketime
    (0.9.10) takes the end of a time.sleep() for a time of day: a handler that sleeps so may fail, or sleep on until its
    worker is told to end, and is tried again."""

    number: ClassVar[str] = "F48"
    title: ClassVar[str] = "a worker's clock jumps"
    takes = 6.0
    strikes = 5
    group: ClassVar[Group] = "network"
    lasts: ClassVar[tuple[float, float]] = (4.0, 8.0)

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return None if libfaketime() else "Debian's package faketime is not installed"

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._shown = stage.folder / f"clock-{id(self):x}"
        self._show(self.random.choice(["+1h", "-1h"]))
        self._member: Member | None = await self._start(stage)
        self._jumping = asyncio.create_task(self._jump())
        async with asyncio.timeout(_START_SECONDS):
            while not (jobs := await asyncio.to_thread(stage.in_flight, self._member)):
                await asyncio.sleep(0.1)
                if not self._member.alive:  # libpq's patience in connecting goes by the time of day
                    self._member = await self._start(stage)
        return jobs

    async def _start(self, stage: Stage) -> Member:
        return await stage.add(
            "worker",
            self._shown.name,
            environment={
                "LD_PRELOAD": str(libfaketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._shown),
                "FAKETIME_CACHE_DURATION": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
            },
        )

    async def heal(self, stage: Stage) -> None:
        if (jumping := getattr(self, "_jumping", None)) is not None:
            jumping.cancel()
            await asyncio.gather(jumping, return_exceptions=True)
        member, self._member = getattr(self, "_member", None), None
        if member is not None and member.alive:
            stage.expect_exit(member)
            os.kill(member.pid, signal.SIGTERM)

    async def _jump(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._show(self.random.choice(_SHOWS))
            self.done["jumps"] = self.done.get("jumps", 0) + 1

    def _show(self, offset: str) -> None:
        """Whole, whenever it is read."""
        new = self._shown.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._shown)


class DatabaseClock(Fault):
    """It jumps back by an hour, and in the end forward again. First nothing comes due or expires for as long as it
    lasts; then every lease that was granted meanwhile has been over for long."""

    number: ClassVar[str] = "F49"
    title: ClassVar[str] = "the database's clock jumps back, and forward"
    takes = 1.0
    group: ClassVar[Group] = "network"
    lasts: ClassVar[tuple[float, float]] = (3.0, 7.0)
    heavy: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True

    async def inject(self, stage: Stage) -> Sequence[int]:
        jobs = await busy(stage)
        back = f"clock_timestamp() - interval '{_BACK_SECONDS} s'"
        self._since: int | None = monotonic_ns()
        await asyncio.to_thread(_replace, stage, _now().replace("clock_timestamp()", back))
        return jobs

    async def heal(self, stage: Stage) -> None:
        """Also when the database is away just now."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await asyncio.to_thread(_is_right_again, stage):  # noqa: ASYNC110  (another process)
                await asyncio.sleep(0.2)
        since, self._since = getattr(self, "_since", None), None
        if since is not None:
            stage.record("fault", "info", fault=self.number, moved=[since, monotonic_ns(), -_BACK_SECONDS])


class SchedulersDown(Fault):
    """Nobody fires schedules across some ticks, for all who could are frozen; then all of them wake up at once, five or
    more, and find the same ticks due. Shorter than a lease, so that no job changes hands."""

    number: ClassVar[str] = "F51"
    title: ClassVar[str] = "schedulers down across ticks, then all at once"
    group: ClassVar[Group] = "network"
    lasts: ClassVar[tuple[float, float]] = (1.5, 3.0)

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return None if len(_schedulers(stage)) >= 5 else "five schedulers are needed: --workers 5"

    async def inject(self, stage: Stage) -> Sequence[int]:
        jobs = await busy(stage)
        self._frozen = _schedulers(stage)
        for member in self._frozen:
            member.freeze()
        self.done["frozen"] = len(self._frozen)
        return jobs

    async def heal(self, stage: Stage) -> None:
        for member in getattr(self, "_frozen", ()):
            member.thaw()
        self._frozen = []


def _schedulers(stage: Stage) -> list[Member]:
    return [*stage.members("worker"), *stage.members("api")]


def _now() -> str:
    return (Path(str(files("dtsched.schema"))) / "functions" / "now.sql").read_text()


def _is_right_again(stage: Stage) -> bool:
    with suppress(psycopg.OperationalError):
        _replace(stage, _now())
        return True
    return False


def _replace(stage: Stage, function: str) -> None:
    with stage.connect() as connection:
        connection.execute(cast("LiteralString", function))


FAULTS: Sequence[type[Fault]] = (WorkerClock, DatabaseClock, SchedulersDown)

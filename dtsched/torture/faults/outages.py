"""Group B, the whole server: stopped, crashed, or up and unwilling."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import ClassVar, Literal

import psycopg

from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.servers import busy

Way = Literal["smart", "fast", "starting", "read only"]


class Outage(Fault):
    """The server is away from inject() to heal()."""

    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (0.0, 2.0)
    heavy = True

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await busy(stage)
        await asyncio.to_thread(self.end, stage)
        return exposed

    def end(self, stage: Stage) -> None:
        stage.cluster.stop("immediate")

    async def heal(self, stage: Stage) -> None:
        await asyncio.to_thread(stage.cluster.start)


class Crash(Outage):
    """F19. What was committed is in the WAL."""

    number = "F19"
    title = "crash of the server (stop -m immediate)"
    takes = 2.0


class KilledServer(Outage):
    """F20. As if the machine had lost its power, but for what the kernel still holds."""

    number = "F20"
    title = "postmaster and all its processes killed with SIGKILL"
    takes = 2.0

    def end(self, stage: Stage) -> None:
        stage.cluster.kill()


class LongOutage(Outage):
    """F21. All leases have run out when the server is back, and their holders live: nobody takes their jobs."""

    number = "F21"
    title = "outage of three leases, with workers alive"
    takes = 2.0
    lasts: ClassVar[tuple[float, float]] = (15.0, 18.0)

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._until = 0.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed = await super().inject(stage)
        self._until = monotonic() + 3 * stage.lease_seconds
        return exposed

    async def heal(self, stage: Stage) -> None:
        await asyncio.sleep(max(0.0, self._until - monotonic()))
        await super().heal(stage)


class UnwillingServer(Outage):
    """F22. `smart`: new sessions are refused (57P03), old ones stay. `fast`: all are ended (57P01). `starting`: it
    listens, and refuses everybody (57P03). `read only`: a standby, which refuses what is written (25006), until it is
    promoted."""

    number = "F22"
    title = "server shutting down, starting up, or in recovery and read-only"
    lasts: ClassVar[tuple[float, float]] = (1.0, 6.0)

    ways: ClassVar[Sequence[Way]] = ("smart", "fast", "starting", "read only")

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._standby: Standing | None = None
        self._told_to_end = False

    async def inject(self, stage: Stage) -> Sequence[int]:
        way = self.random.choice(self.ways)
        exposed = await busy(stage)
        if way == "smart":
            if pid := stage.cluster.pid:
                os.kill(pid, signal.SIGTERM)  # goes on until the last session has ended by itself
                self._told_to_end = True
            return exposed
        await asyncio.to_thread(stage.cluster.stop, "fast")
        if way != "fast":
            self._standby = Standing(stage, readable=way == "read only")
            await self._standby.begin()
        return exposed

    async def heal(self, stage: Stage) -> None:
        if self._standby is not None:
            await self._standby.promote()
            self._standby = None
        if self._told_to_end:
            await asyncio.to_thread(stage.cluster.stop, "fast")
            self._told_to_end = False
        await super().heal(stage)


class Standing:
    """The stage's own server as a standby of nobody, until it is promoted."""

    def __init__(self, stage: Stage, *, readable: bool) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        self._readable = readable
        self._settings = stage.cluster.data_dir / "postgresql.auto.conf"
        self._before: str | None = None
        self._start: asyncio.Task[None] | None = None

    async def begin(self, *, seconds: float = 20.0) -> None:
        """Returns when it has opened its port."""
        if not self._readable:
            self._before = self._settings.read_text()
            self._settings.write_text(f"{self._before}\nhot_standby = off\n")
        own_to_server(self._cluster.data_dir, "standby.signal")
        self._start = asyncio.create_task(asyncio.to_thread(self._cluster.start), name="torture-standby")
        deadline = monotonic() + seconds
        while not self._start.done() and not self._answers() and monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def promote(self) -> None:
        while self._start is not None and not (self._start.done() and self._is_writable()):
            if (pid := self._postmaster()) is not None:
                own_to_server(self._cluster.data_dir, "promote")
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)
            await asyncio.sleep(0.1)
        if self._before is not None:
            self._settings.write_text(self._before)
        for name in ("standby.signal", "promote"):
            (self._cluster.data_dir / name).unlink(missing_ok=True)

    def _is_writable(self) -> bool:
        try:
            with self._stage.connect(application="torture look") as connection:
                return connection.execute("select pg_is_in_recovery()").fetchone() == (False,)
        except (psycopg.OperationalError, OSError, ValueError):
            return False

    def _answers(self) -> bool:
        try:
            self._stage.connect(application="torture look").close()
        except (psycopg.OperationalError, OSError, ValueError) as error:  # ValueError: its access is being written
            return not self._readable and "the database system is" in str(error)
        return True

    def _postmaster(self) -> int | None:
        with suppress(OSError, ValueError, IndexError):
            return int((self._cluster.data_dir / "postmaster.pid").read_text().splitlines()[0])
        return None


def own_to_server(data: Path, name: str) -> None:
    """An empty file, as the server itself would have made it."""
    file = data / name
    file.touch(mode=0o600)
    status = data.stat()
    os.chown(file, status.st_uid, status.st_gid)

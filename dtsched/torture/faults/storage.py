"""Group B, storage: a disk that is full, and a notification queue that takes nothing more."""

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import ClassVar, LiteralString

import psycopg

from dtsched.embedded import Cluster
from dtsched.embedded.binaries import version
from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.jobs import orders, submit_on
from dtsched.torture.faults.servers import busy, when_it_answers

_MEGABYTE = 1 << 20
_MOUNTING = 21  # CAP_SYS_ADMIN
_CHANNEL: LiteralString = "torture_full"


def cannot_mount() -> str | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:") and int(line.split()[1], 16) >> _MOUNTING & 1:
            return None
    return "needs root and the right to mount: the server's files lie on a small file system of their own meanwhile"


class SmallDisk:
    """A file system of so many bytes more than it needs, in memory, in the place of a folder of a stopped server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._large = folder.with_name(f"{folder.name}.large")

    @property
    def is_there(self) -> bool:
        return self._large.exists()

    def put(self, more_bytes: int, *, least_bytes: int = 0) -> None:
        used = sum(file.lstat().st_size for file in self.folder.rglob("*") if file.is_file())
        status = self.folder.stat()
        self.folder.rename(self._large)
        self.folder.mkdir(mode=0o700)
        size = max(least_bytes, used + more_bytes)
        options = f"size={size},mode=700,uid={status.st_uid},gid={status.st_gid}"
        _run("mount", "-t", "tmpfs", "-o", options, "torture", str(self.folder))
        _run("cp", "-a", f"{self._large}/.", str(self.folder))

    def take_away(self) -> None:
        """What was written there is kept."""
        if not self.is_there:
            return
        if self.folder.is_mount():
            kept = self.folder.with_name(f"{self.folder.name}.kept")
            shutil.rmtree(kept, ignore_errors=True)
            _run("cp", "-a", str(self.folder), str(kept))
            _run("umount", str(self.folder))
            shutil.rmtree(self._large)
            kept.rename(self._large)
        with suppress(FileNotFoundError):
            self.folder.rmdir()
        self._large.rename(self.folder)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class FullDisk(Fault):
    """F26. Nothing can be written: transactions fail, and the server may end and not start before there is room."""

    number = "F26"
    title = "the disk with the database is full"
    takes = 6.0
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (2.0, 6.0)
    heavy = True

    room_bytes: ClassVar[int] = 64 * _MEGABYTE

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._disk: SmallDisk | None = None

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return cannot_mount()

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._disk = SmallDisk(stage.cluster.data_dir)
        await asyncio.to_thread(stage.cluster.stop, "fast")
        await asyncio.to_thread(self._disk.put, self.room_bytes)
        await asyncio.to_thread(stage.cluster.start)
        exposed = await busy(stage, seconds=10.0)
        self._fill(_filler(stage.cluster))
        return exposed

    def _fill(self, filler: Path) -> None:
        with filler.open("wb") as file:
            for piece in (_MEGABYTE, 4096):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    async def heal(self, stage: Stage) -> None:
        if self._disk is None:
            return
        _filler(stage.cluster).unlink(missing_ok=True)
        if self._disk.is_there:
            await asyncio.to_thread(stage.cluster.start)  # it recovers where it is
            await asyncio.to_thread(stage.cluster.stop, "fast")
            await asyncio.to_thread(self._disk.take_away)
        await asyncio.to_thread(stage.cluster.start)
        self._disk = None


def _filler(cluster: Cluster) -> Path:
    return cluster.data_dir / "torture_filler"


class FullNotificationQueue(Fault):
    """F27. A listener that stays in its transaction keeps everything in the queue, until there is no room: who notifies
    then fails at the commit. Jobs are submitted all the same; noted is how many of how many. From 17 on the queue is
    made small; before, it is as large as its disk, which is made small."""

    number = "F27"
    title = "the notification queue is full"
    takes = 6.0
    group: ClassVar[Group] = "postgres"
    lasts: ClassVar[tuple[float, float]] = (2.0, 5.0)
    heavy = True

    submissions: ClassVar[int] = 10

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._listener: psycopg.Connection | None = None
        self._disk: SmallDisk | None = None
        self._injected = False

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return None if _can_be_made_small(stage) else cannot_mount()

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._injected = True
        if _can_be_made_small(stage):
            with stage.connect(application="torture fault") as connection:
                connection.execute("alter system set max_notify_queue_pages = 64")
        await asyncio.to_thread(stage.cluster.stop, "fast")
        if not _can_be_made_small(stage):
            self._disk = SmallDisk(stage.cluster.data_dir / "pg_notify")
            await asyncio.to_thread(self._disk.put, 0, least_bytes=_MEGABYTE // 4)
        await asyncio.to_thread(stage.cluster.start)
        self._listener = stage.connect(application="torture listener")
        self._listener.execute("set idle_in_transaction_session_timeout = 0")
        self._listener.execute("listen torture_full")
        self._listener.execute("begin")
        self._listener.execute("select 1")
        with stage.connect(application="torture fault") as connection:
            exposed = await busy(stage, seconds=10.0)
            self._fill(connection)
            return [*exposed, *self._submit(stage, connection)]

    @classmethod
    def leaves_room_for_others(cls, stage: Stage) -> bool:
        """Whether the server knows that the queue is full, so that nobody needs to notify: not where its disk is."""
        return _can_be_made_small(stage)

    def _fill(self, connection: psycopg.Connection) -> None:
        """To the last page, and then with what is small."""
        for length in (7900, 1):
            with suppress(psycopg.errors.ProgramLimitExceeded, psycopg.errors.DiskFull, psycopg.errors.UndefinedFile):
                for number in range(100_000):
                    connection.execute("select pg_notify(%s, %s)", (_CHANNEL, f"{number:0{length}}"))

    def _submit(self, stage: Stage, connection: psycopg.Connection) -> list[int]:
        jobs: list[int] = []
        later = orders(self.random, self.submissions // 2, "do_nothing", delay=0.1)  # who waits for these is told too
        for order in [*later, *orders(self.random, self.submissions - len(later), "do_nothing")]:
            with suppress(psycopg.Error):
                jobs += submit_on(stage, connection, [order])
        refused = self.submissions - len(jobs)
        wrong = [f"{refused} of {self.submissions} submissions were not accepted"] if refused else []
        stage.record("fault", "info", fault=self.number, submitted=self.submissions, taken=len(jobs), wrong=wrong)
        return jobs

    async def heal(self, stage: Stage) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if not self._injected:
            return
        if _can_be_made_small(stage):
            await asyncio.to_thread(stage.cluster.start)
            await when_it_answers(stage, lambda connection: connection.execute(_LARGE_AGAIN))
        await asyncio.to_thread(stage.cluster.stop, "fast")
        if self._disk is not None:
            await asyncio.to_thread(self._disk.take_away)
        await asyncio.to_thread(stage.cluster.start)
        self._injected = False


_LARGE_AGAIN: LiteralString = "alter system reset max_notify_queue_pages"


def _can_be_made_small(stage: Stage) -> bool:
    return (version(stage.cluster.bin_dir) or 0) >= 17


FAULTS: Sequence[type[Fault]] = (FullDisk, FullNotificationQueue)

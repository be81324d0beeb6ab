"""Group B, servers that know less than the one that is gone: standbys that are promoted, and a backup of before.

They take the place of the stage's own data, so that its address stays what it is: members are led to the new server as
by an address that moves along.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic, monotonic_ns
from typing import Any, ClassVar, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dtsched.embedded import binaries
from dtsched.torture.faults.base import Fault, Group, Stage
from dtsched.torture.faults.servers import busy, when_it_answers
from dtsched.torture.history import recent
from dtsched.torture.stage import free_ports

_PR_SET_PDEATHSIG = 1
_MINUTES_BYTES = 16 << 20
"""Of histories: in them is room for the minutes that this takes."""
_NAME = "torture_standby"
_STATE: LiteralString = "select state, sync_state from pg_stat_replication where application_name = 'torture_standby'"
_WAITING: LiteralString = (
    "select pid from pg_stat_activity where wait_event = 'SyncRep' and backend_type = 'client backend'"
)
_PRESENT: LiteralString = "select args ->> 'name' from dtsched.jobs where args ->> 'name' = any (%s)"


class Copy:
    """A physical copy of the stage's server, beside its data, and the server that runs on it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        self.data = self._cluster.data_dir.with_name("copy")
        self._user = binaries.server_user(self._cluster.data_dir)
        self._port = 0
        self._settings = _settings_of(self._cluster.pid)
        self._server: subprocess.Popen[bytes] | None = None

    def make(self, *, streams: bool) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.data, *self._user)
        given = conninfo_to_dict(self._cluster.dsn)
        command = ["pg_basebackup", "-D", self._place(), "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        command += ["-h", str(given["host"]), "-p", str(given["port"]), "-U", str(given["user"])]
        environment = {"PGPASSWORD": str(given["password"]), "PGAPPNAME": _NAME}
        with self._spawn([*command, "--write-recovery-conf"] if streams else command, environment) as process:
            if process.wait() != 0:
                raise OSError(f"pg_basebackup has failed: {self._said()}")

    def start(self) -> None:
        [self._port] = free_ports(1)
        self._server = self._spawn(["postgres", "-D", self._place(), *self._settings, f"--port={self._port}"], {})

    def connect(self) -> psycopg.Connection:
        dsn = make_conninfo(self._cluster.dsn, port=self._port)
        return psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="torture fault")

    def promote(self) -> None:
        with self.connect() as connection:
            assert connection.execute("select pg_promote(true, 60)").fetchone() == (True,)

    def pause(self) -> None:
        """It receives nothing and answers nothing, and its connections stay."""
        for pid in _tree(self._server):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in _tree(self._server):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._server is not None:
            self.resume()
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait()
            self._server = None

    def take_over(self) -> None:
        """The stage's server, which must be gone, is this one from now on."""
        lost = self._cluster.data_dir.with_name("lost")
        self._cluster.data_dir.rename(lost)
        self.data.rename(self._cluster.data_dir)
        shutil.rmtree(lost, ignore_errors=True)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def _place(self) -> str:
        """As another user it may be unable to walk there, and is put there before it becomes that user."""
        return str(self.data) if self._user is None else "/proc/self/cwd"

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        user, group = self._user or (None, None)
        with (self._stage.folder / "logs" / "standby.log").open("ab") as log:
            return subprocess.Popen(
                [f"{self._cluster.bin_dir}/{command[0]}", *command[1:]],
                cwd=self.data,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                preexec_fn=_end_with_parent,
            )

    def _said(self) -> str:
        return (self._stage.folder / "logs" / "standby.log").read_text(errors="replace")[-500:]


def _end_with_parent() -> None:
    """Runs in the child. A fast shutdown, should we be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)


def _settings_of(postmaster: int | None) -> list[str]:
    """What it was started with: a standby needs no less."""
    if postmaster is None:
        return []
    words = Path(f"/proc/{postmaster}/cmdline").read_text().split("\0")
    return [word for word in words if word.startswith("--") and not word.startswith("--port=")]


def _tree(server: "subprocess.Popen[bytes] | None") -> list[int]:
    if server is None:
        return []
    file = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [server.pid, *map(int, file.read_text().split())] if file.exists() else []


class Succession(Fault):
    """The stage's server is killed, and one that was made from it takes its place. Noted: how many submissions that
    somebody had been told of it does not know."""

    group: ClassVar[Group] = "postgres"
    heavy = True
    overlaps = True
    forgets = True

    streams: ClassVar[bool] = True

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._copy: Copy | None = None
        self._told: dict[str, Any] = {}

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        if not (stage.cluster.bin_dir / "pg_basebackup").exists():
            return f"there is no pg_basebackup in {stage.cluster.bin_dir}"
        return None

    async def inject(self, stage: Stage) -> Sequence[int]:
        self._copy = copy = Copy(stage)
        since = monotonic_ns()
        await asyncio.to_thread(copy.make, streams=self.streams)
        if self.streams:
            await asyncio.to_thread(copy.start)
            await self.until_streaming(stage)
        forgotten_since = await self.go_on(stage, copy) or since
        exposed = await busy(stage)
        await asyncio.to_thread(stage.cluster.kill)
        until = monotonic_ns()
        if self.streams:
            copy.resume()
            await asyncio.to_thread(copy.promote)
            await asyncio.to_thread(copy.stop)
        await asyncio.to_thread(copy.take_over)
        await asyncio.to_thread(stage.cluster.start)
        await self._count(stage, since, forgotten_since, until)
        return exposed

    async def go_on(self, stage: Stage, copy: Copy) -> int | None:
        """Lets the stage work for a while, and returns from when on (in ns) commits are not for sure in the copy; None:
        since one began to make it."""
        raise NotImplementedError

    async def until_streaming(self, stage: Stage, sync_state: str | None = None, *, seconds: float = 20.0) -> None:
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            with stage.connect(application="torture fault") as connection:
                state = connection.execute(_STATE).fetchone()
            if state is not None and state[0] == "streaming" and sync_state in (None, state[1]):
                return
            await asyncio.sleep(0.05)
        raise OSError(f"the standby does not stream as it should ({sync_state or 'at all'})")

    async def _count(self, stage: Stage, since: int, forgotten_since: int, until: int) -> None:
        acked = await asyncio.to_thread(_acked, stage, since, until)

        def present(connection: psycopg.Connection) -> set[str]:
            return {name for (name,) in connection.execute(_PRESENT, ([*acked],)).fetchall()}

        lost = sorted(acked.keys() - await when_it_answers(stage, present))
        stage.record(
            "fault",
            "info",
            fault=self.number,
            forgets=[forgotten_since, until],
            acked=len(acked),
            acked_lost=len(lost),
            acked_lost_before=sum(acked[key] < forgotten_since for key in lost),
            **self._told,
        )

    async def heal(self, stage: Stage) -> None:
        if self._copy is not None:
            await asyncio.to_thread(self._copy.remove)
            self._copy = None
        await asyncio.to_thread(stage.cluster.start)


class AsynchronousFailover(Succession):
    """F23. The standby lags behind when the primary is killed: it has been cut off a moment before."""

    number = "F23"
    title = "failover to an asynchronous standby, which has missed the last commits"
    takes = 23.0

    lag_seconds: ClassVar[tuple[float, float]] = (0.1, 1.0)

    async def go_on(self, stage: Stage, copy: Copy) -> int:
        await asyncio.sleep(self.random.uniform(0.2, 1.0))
        since = monotonic_ns()
        with copy.connect() as connection:
            connection.execute("alter system set primary_conninfo = ''")
            connection.execute("select pg_reload_conf()")
        await asyncio.sleep(self.random.uniform(*self.lag_seconds))
        return since


class SynchronousFailover(Succession):
    """F24. Nothing is lost that somebody was told of, but for what was told while waits for the standby were cancelled:
    the server says that it is committed here, and perhaps not there."""

    number = "F24"
    title = "failover to a synchronous standby, with waits for it cancelled before"
    takes = 30.0

    async def go_on(self, stage: Stage, copy: Copy) -> int:
        with stage.connect(application="torture fault") as connection:
            connection.execute("set synchronous_commit = local")
            connection.execute("alter system set synchronous_standby_names = 'torture_standby'")
            connection.execute("select pg_reload_conf()")
            await self.until_streaming(stage, "sync")
            await asyncio.sleep(self.random.uniform(0.2, 1.0))
            copy.pause()
            cancelled: set[int] = set()
            deadline = monotonic() + self.random.uniform(0.2, 1.0)
            since = monotonic_ns()
            while monotonic() < deadline:
                for (pid,) in connection.execute(_WAITING).fetchall():
                    if self.random.random() < 0.5:
                        connection.execute("select pg_cancel_backend(%s)", (pid,))
                        cancelled.add(pid)
                await asyncio.sleep(0.05)
            self._told["waits_cancelled"] = len(cancelled)
            return since

    async def heal(self, stage: Stage) -> None:
        await super().heal(stage)
        await when_it_answers(stage, _wait_for_nobody)


def _acked(stage: Stage, since: int, until: int) -> dict[str, int]:
    """The submissions that somebody was told of in this time, and when."""
    folder = stage.folder / "history"
    told = [
        *recent(folder, "submitter", bytes_each=_MINUTES_BYTES),
        *recent(folder, "runner", bytes_each=_MINUTES_BYTES),
    ]
    return {
        one.key: one.ns
        for one in told
        if one.op == "submit" and one.phase == "ok" and one.key is not None and since <= one.ns <= until
    }


def _wait_for_nobody(connection: psycopg.Connection) -> None:
    connection.execute("set synchronous_commit = local")
    connection.execute("alter system reset synchronous_standby_names")
    connection.execute("select pg_reload_conf()")


class RestoredBackup(Succession):
    """F25. The workers live, and hold leases that the server knows nothing of: it accepts nothing by them."""

    number = "F25"
    title = "restore of an older backup, with workers alive"
    takes = 22.0

    streams: ClassVar[bool] = False

    async def go_on(self, stage: Stage, copy: Copy) -> None:
        await asyncio.sleep(self.random.uniform(1.0, 3.0))


FAULTS: Sequence[type[Fault]] = (AsynchronousFailover, SynchronousFailover, RestoredBackup)

"""A PostgreSQL server of one's own: no Docker, no installed server, no root needed, nothing left behind.

`temporary()` throws its data away, `shared()` keeps them and lets several processes use one server. A server runs for
as long as anybody owns it. To own one is to hold a shared lock on `owners.lock`; a `keeper` process runs the server and
stops it when that lock is free, also when the last owner was killed. Nothing here talks to the database.

    home/  owners.lock  server.lock  access.json (password, port)  pid (while the server is ready)  log  data/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Literal, cast

from dtsched.embedded import binaries, keeper
from dtsched.embedded.keeper import Access, Plan
from dtsched.errors import DatabaseUnreachable, InvalidInput

StopMode = Literal["smart", "fast", "immediate"]

_STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
# For a machine of two cores and a queue's many small writes.
_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "200",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Never to be overruled. The socket is named from the data directory, where the server stands, so it can't be too long.
_FIXED_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
    "cluster_name": "dtsched",
}
_START_SECONDS = 300
_LOG_BYTES = 10_000_000
_TEMPORARY_PREFIX = "dtsched-pg-"


class Cluster:
    """One server and its data. The methods are for whoever wants to see an outage; owners need none of them."""

    def __init__(self, home: Path, bin_dir: Path, settings: Mapping[str, str], *, temporary: bool) -> None:
        self._home = home
        self.temporary = temporary
        self._settings = {**_SETTINGS, **settings, **_FIXED_SETTINGS}
        self.data_dir = home / "data"
        self._user = binaries.server_user(self.data_dir)
        self.bin_dir = binaries.runnable_by(self._user, bin_dir)

    @property
    def dsn(self) -> str:
        """Stays the same over restarts, unless somebody took the port meanwhile."""
        access = cast(Access, json.loads((self._home / "access.json").read_text()))
        return f"postgresql://postgres:{access['password']}@127.0.0.1:{access['port']}/postgres"

    @property
    def pid(self) -> int | None:
        """The postmaster's, once it takes connections. The file alone proves nothing: a killed keeper leaves it."""
        try:
            pid = int((self._home / "pid").read_text())
        except FileNotFoundError:
            return None
        return pid if self._is_kept() and _is_alive(pid) else None

    def start(self) -> None:
        """Returns when the server takes connections; no effect when it does already."""
        deadline = time.monotonic() + _START_SECONDS
        launched = False
        while self.pid is None:
            with self.lock("server.lock") as lock:
                if _try_lock(lock):
                    if launched:
                        raise DatabaseUnreachable(f"the embedded PostgreSQL did not start: {self._end_of_log()}")
                    self._launch_keeper(lock)
                    launched = True
            if time.monotonic() > deadline:
                raise DatabaseUnreachable(f"the embedded PostgreSQL is not ready yet: {self._end_of_log()}")
            time.sleep(0.005)

    def stop(self, mode: StopMode = "fast") -> None:
        """Returns when the server is gone; no effect when it was. One that is being made is first waited for."""
        told: int | None = None
        while self._is_kept():
            if (pid := self.pid) and pid != told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, _STOP_SIGNALS[mode])
                told = pid
            time.sleep(0.005)

    def kill(self) -> None:
        """As a crash of the machine: the postmaster and all its processes at once, with SIGKILL. Linux only."""
        if pid := self.pid:
            os.kill(pid, signal.SIGSTOP)  # so that none is born while we count
            victims = [pid, *_children(pid)]
            for victim in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            while any(_is_alive(victim) for victim in victims):
                time.sleep(0.005)
        while self._is_kept():
            time.sleep(0.005)

    def lock(self, name: Literal["owners.lock", "server.lock"]) -> contextlib.AbstractContextManager[int]:
        return _lock_file(self._home / name)

    def remove(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def _launch_keeper(self, lock: int) -> None:
        (self._home / "pid").unlink(missing_ok=True)  # a killed keeper's
        plan: Plan = {
            "home": str(self._home),
            "bin_dir": str(self.bin_dir),
            "user": self._user,
            "initdb": _initdb_options(binaries.version(self.bin_dir, self._user)),
            "settings": self._settings,
            "temporary": self.temporary,
        }
        log = os.open(self._home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if os.fstat(log).st_size > _LOG_BYTES:
            os.truncate(log, 0)
        subprocess.run(
            [sys.executable, "-I", "-S", keeper.__file__],
            input=json.dumps(plan).encode(),
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
            cwd=self._home,
            check=True,
        )
        os.close(log)

    def _is_kept(self) -> bool:
        with self.lock("server.lock") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)

    def _end_of_log(self) -> str:
        lines = (self._home / "log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-4:]) or "its log is empty"


@contextlib.contextmanager
def temporary(
    *, settings: Mapping[str, str] | None = None, bin_dir: Path | None = None, base: Path | None = None
) -> Generator[Cluster]:
    """A new server in a folder of its own under `base`; gone with its data at the end, even if we are killed."""
    base = base or Path(tempfile.gettempdir())
    _sweep(base)
    home = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=base))
    home.chmod(_home_mode())
    with _own(Cluster(home, bin_dir or binaries.find_bin_dir(), settings or {}, temporary=True)) as cluster:
        yield cluster


@contextlib.contextmanager
def shared(data_dir: Path, *, bin_dir: Path | None = None) -> Generator[Cluster]:
    """The server of `data_dir`, started if it does not run; stopped, and its data kept, when its last owner leaves."""
    home = data_dir.absolute()
    with contextlib.suppress(FileExistsError):
        home.mkdir(parents=True)
        home.chmod(_home_mode())
    if any(home.iterdir()) and not (home / "owners.lock").exists():
        raise InvalidInput(f"{home} is not empty and holds no embedded database: name a new folder")
    with _own(Cluster(home, bin_dir or binaries.find_bin_dir(), {}, temporary=False)) as cluster:
        yield cluster


@contextlib.contextmanager
def _own(cluster: Cluster) -> Generator[Cluster]:
    with cluster.lock("owners.lock") as owners:
        fcntl.flock(owners, fcntl.LOCK_SH)
        try:
            cluster.start()
            yield cluster
        finally:
            if _try_lock(owners):  # we are the last
                cluster.stop("immediate" if cluster.temporary else "fast")
            else:
                fcntl.flock(owners, fcntl.LOCK_SH)  # the keeper may have found out before us: let it finish
            if cluster.temporary:
                cluster.remove()


def _home_mode() -> int:
    """As root the server runs as somebody else, and PostgreSQL 15 wants to be able to walk back to where it stands."""
    return 0o711 if os.geteuid() == 0 else 0o700


def _initdb_options(version: int | None) -> list[str]:
    """Text sorts and matches the same on every machine; 17 brings Unicode's rules for that, C knows ASCII only."""
    modern = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version and version >= 17 else []
    return ["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-instructions", *modern]


def _sweep(base: Path) -> None:
    """Removes what a power cut left of temporary servers; those just being made are too young to be judged."""
    for home in base.glob(f"{_TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = home.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or time.time() - status.st_mtime < 60:
                continue
            with _lock_file(home / "owners.lock") as owners, _lock_file(home / "server.lock") as server:
                if _try_lock(owners) and _try_lock(server):
                    shutil.rmtree(home)


@contextlib.contextmanager
def _lock_file(path: Path) -> Generator[int]:
    """An open file to be locked by flock; closing it unlocks it, unless a child process has it too."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _children(parent: int) -> list[int]:
    return [int(file.parent.name) for file in Path("/proc").glob("[0-9]*/stat") if _status(file)[1:] == [str(parent)]]


def _is_alive(pid: int) -> bool:
    """A zombie is dead: whoever should bury it may take its time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _status(Path(f"/proc/{pid}/stat"))[:1] != ["Z"]


def _status(file: Path) -> list[str]:
    """State and parent of a process on Linux; empty when it is gone, and elsewhere."""
    try:
        return file.read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return []

"""The process that runs one embedded server for as long as somebody owns it; a script of the standard library only.

`dtsched.embedded` starts it as `python -I -S keeper.py` with its `Plan` as JSON on standard input and the lock on
`server.lock` among its open files: that lock says "there is a server, or one is about to be" and goes with the process.
It makes the data directory if there is none, runs the server as its child, and waits for either of two ends: the server
is gone, or nobody holds `owners.lock` any more. The kernel lets go of a lock whatever way its owner died, so an owner
has to do nothing for its server to be stopped.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TypedDict, cast

# Below the ports that Linux hands out by itself: a client that keeps dialling such a port of a stopped server
# sooner or later reaches itself, and then the server can't have it back.
PORTS = range(20000, 32000)
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
GRACE_SECONDS = 30
PR_SET_PDEATHSIG = 1


class Plan(TypedDict):
    """`user`: uid and gid to run the server as, or None for our own. `temporary`: `home` is removed at the end."""

    home: str
    bin_dir: str
    user: tuple[int, int] | None
    initdb: list[str]
    settings: dict[str, str]
    temporary: bool


class Access(TypedDict):
    """What a client needs to know besides 127.0.0.1; kept in `access.json`, so that a restart changes nothing."""

    password: str
    port: int


class Keeper:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.home = Path(plan["home"])
        self.data = self.home / "data"
        self.access = self.home / "access.json"
        self.server_gone = threading.Event()
        self.abandoned = threading.Event()

    def run(self) -> None:
        if not self.data.exists():
            self._make_data()
        _end_unkept_server(self.data)
        server = self._start()
        threading.Thread(target=self._stop_when_abandoned, args=(server,), daemon=True).start()
        server.wait()
        self.server_gone.set()
        (self.home / "pid").unlink(missing_ok=True)
        if self.abandoned.is_set() and self.plan["temporary"]:
            shutil.rmtree(self.home, ignore_errors=True)

    def _make_data(self) -> None:
        """Made beside its place and moved there whole, so that half a data directory is never taken for one."""
        access: Access = {"password": secrets.token_urlsafe(24), "port": 0}
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.home))
        with tempfile.TemporaryFile() as password:
            password.write(access["password"].encode())
            password.seek(0)
            if self.plan["user"]:
                os.chown(unfinished, *self.plan["user"])
                os.fchown(password.fileno(), *self.plan["user"])
            # On standard input, because the server's user may be unable to walk to any file of ours.
            command = ["initdb", *self.plan["initdb"], "--auth=scram-sha-256", "--pwfile=/dev/stdin"]
            initdb = self._spawn(command, unfinished, stdin=password.fileno(), stdout=subprocess.DEVNULL)
            if initdb.wait():
                shutil.rmtree(unfinished, ignore_errors=True)
                raise SystemExit("initdb failed")
        _write_whole(self.access, json.dumps(access))
        unfinished.rename(self.data)
        _sync_directory(self.home)

    def _start(self) -> subprocess.Popen[bytes]:
        access = cast(Access, json.loads(self.access.read_text()))
        while True:
            if not _is_free(access["port"]):
                access["port"] = _free_port()
                _write_whole(self.access, json.dumps(access))
            settings = self.plan["settings"] | {"port": str(access["port"])}
            server = self._spawn(["postgres", *(f"--{name}={value}" for name, value in settings.items())], self.data)
            if _becomes_ready(server, self.data):
                _write_whole(self.home / "pid", str(server.pid))
                return server
            if _is_free(access["port"]):  # nobody took it from under us, so trying again would not help
                raise SystemExit("the server did not start")

    def _spawn(
        self, command: list[str], data: Path, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs one of PostgreSQL's programs on `data`, as the plan's user and without our environment.

        Another user may be unable to walk to `data` (in /root, say), and need not be: the process is put there before
        it becomes that user, and /proc/self/cwd leads there without asking the folders above.
        """
        program, *arguments = command
        user, group = self.plan["user"] or (None, None)
        return subprocess.Popen(
            [f"{self.plan['bin_dir']}/{program}", "-D", str(data) if user is None else "/proc/self/cwd", *arguments],
            cwd=data,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=stdin,
            stdout=stdout,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            preexec_fn=_end_with_parent,
        )

    def _stop_when_abandoned(self, server: subprocess.Popen[bytes]) -> None:
        owners = os.open(self.home / "owners.lock", os.O_RDWR)
        fcntl.flock(owners, fcntl.LOCK_EX)  # held to our very end: who comes now waits, and then starts afresh
        self.abandoned.set()
        self._stop(server)

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        for demand in (IMMEDIATE if self.plan["temporary"] else FAST, IMMEDIATE, signal.SIGKILL):
            server.send_signal(demand)
            if self.server_gone.wait(GRACE_SECONDS):
                return


def _end_with_parent() -> None:
    """Runs in the child, so that even a keeper that is killed takes its server along. Only Linux has this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(FAST), 0, 0, 0)


def _end_unkept_server(data: Path) -> None:
    """Waits for a server whose keeper was killed, and removes the postmaster.pid that a power cut leaves behind.

    PostgreSQL believes that number if any process of its user has it; we look whether that one runs in `data`.
    """
    file = data / "postmaster.pid"
    deadline = time.monotonic() + GRACE_SECONDS
    while sys.platform == "linux" and file.exists():
        pid = int(file.read_text().split()[0])
        if not _runs_in(pid, data):
            file.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"a server that is not ours, process {pid}, runs in {data} and does not stop")
        os.kill(pid, FAST)
        time.sleep(0.05)


def _runs_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:  # no such process, or one of somebody else's
        return False


def _becomes_ready(server: subprocess.Popen[bytes], data: Path) -> bool:
    """False when the server ended instead. Recovery after a crash may take as long as it takes."""
    while server.poll() is None:
        lines = (data / "postmaster.pid").read_text().splitlines() if (data / "postmaster.pid").exists() else []
        if len(lines) >= 8 and int(lines[0]) == server.pid and lines[7].strip() == "ready":
            return True
        time.sleep(0.005)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return port != 0


def _free_port() -> int:
    return next(port for port in random.sample(PORTS, len(PORTS)) if _is_free(port))


def _write_whole(path: Path, text: str) -> None:
    """Readers see the old text or the new one, never half of it, and nobody but our user sees any."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _sync_directory(path: Path) -> None:
    """Without it a power cut may take back the move of a data directory whose commits were promised to be kept."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    plan = cast(Plan, json.load(sys.stdin))
    if os.fork():  # our starter need not wait for us, nor we for it
        os._exit(0)
    Keeper(plan).run()

"""Supervisors that outlive the command that started them: one file each says which process it is, and holds no secret.

state folder/  NAME.json (while it runs)  NAME.lock (held while it is started)  NAME.log
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dtsched.cli.processes import PARENT, ready_variable
from dtsched.errors import Conflict, DtschedError, InvalidInput

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Detached(msgspec.Struct, frozen=True, kw_only=True):
    """`born` tells the process from a later one of the same pid; `since` is for people."""

    name: str
    pid: int
    born: str
    since: datetime
    processes: int
    grace_seconds: float
    log: str

    @property
    def alive(self) -> bool:
        return birth_of(self.pid) == self.born

    def send(self, number: signal.Signals) -> None:
        """No effect once it is gone, whoever has its pid by then."""
        with suppress(ProcessLookupError):
            if self.alive:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """With all its workers. Stopped first, it buries none of them, so none of their pids can be another's."""
        self.send(signal.SIGSTOP)
        if self.alive:
            for pid in [*children_of(self.pid), self.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class StateFolder:
    """Of one user on one machine."""

    def __init__(self, path: Path | None) -> None:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.path = (path or Path(base) / "dtsched").absolute()

    def make(self) -> None:
        """We send signals to whom its files name, so they must be our own."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        status = self.path.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise InvalidInput(f"{self.path} must belong to this user, and nobody else may write to it: chmod 700")

    @contextmanager
    def locked(self, name: str) -> Generator[None]:
        """Raises Conflict while another command starts that one."""
        with open(os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600), "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"workers {name}: another command starts them just now") from error
            yield

    def all(self) -> list[Detached]:
        names = sorted(file.stem for file in self.path.glob("*.json"))
        return [found for name in names if (found := self.read(name)) is not None]

    def read(self, name: str) -> Detached | None:
        file = self.path / f"{name}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Detached)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise DtschedError(f"{file} cannot be read, look at it and remove it: {error}") from error

    def write(self, detached: Detached) -> None:
        """Whole or not at all."""
        descriptor, name = tempfile.mkstemp(dir=self.path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(detached))
        Path(name).replace(self.path / f"{detached.name}.json")

    def forget(self, detached: Detached) -> None:
        """Unless another one has taken its name."""
        if self.read(detached.name) == detached:
            (self.path / f"{detached.name}.json").unlink(missing_ok=True)


def launch(
    name: str, arguments: Sequence[str], *, log: Path, ready: int, processes: int, grace_seconds: float
) -> tuple[Detached, subprocess.Popen[bytes]]:
    """Runs `dtsched ARGUMENTS` in a session of its own, so that no terminal takes it along."""
    environment = {variable: value for variable, value in os.environ.items() if variable != PARENT}
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dtsched", *arguments],
            env={**environment, **ready_variable(ready)},
            pass_fds=(ready,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    detached = Detached(
        name=name,
        pid=process.pid,
        born=birth_of(process.pid) or "never",
        since=datetime.now(UTC).replace(microsecond=0),
        processes=processes,
        grace_seconds=grace_seconds,
        log=str(log),
    )
    return detached, process


def birth_of(pid: int) -> str | None:
    """Says when this process began, in a form that no other process of this pid has. None: it does not run."""
    if _BOOT_ID.exists():
        status = _status_fields(pid)
        return f"{_BOOT_ID.read_text().strip()} {status[19]}" if status and status[0] not in "ZX" else None
    began = _ps("-o", "stat=,lstart=", "-p", str(pid))
    return None if not began or began.startswith("Z") else " ".join(began.split()[1:])


def children_of(pid: int) -> list[int]:
    if _BOOT_ID.exists():
        everybody = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
        return [each for each in everybody if _status_fields(each)[1:2] == [str(pid)]]
    lines = (line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines())
    return [int(each) for each, parent in lines if parent == str(pid)]


def _status_fields(pid: int) -> list[str]:
    """Of /proc/PID/stat from the third on, the state: what stands before may hold spaces. Empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ps(*arguments: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}  # dates are compared as text
    return subprocess.run(
        ["ps", *arguments], env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()

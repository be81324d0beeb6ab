"""The processes of a run: how one is started so that it cannot outlive the runner, and how all of them are ended.

The kernel kills a member when its parent is gone, also one that is stopped by a signal: SIGTERM, which the commands of
dtsched send themselves when they are orphaned, would never reach that.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from dtsched.torture.faults.base import MemberRole

RUN = "DTSCHED_TORTURE_RUN"
"""In the environment of every member, and so of all that it starts: whatever the run leaves behind is found by it."""

READY = "DTSCHED_READY_FD"
"""The number of a pipe, on which a worker that has registered writes its pid, once."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    """One process. Another one that takes its place is another Child of the same name."""

    def __init__(self, name: str, role: MemberRole, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.role: MemberRole = role
        self.process = process
        self.log = log
        self.started_at = time.monotonic()
        self.expected = False
        """A fault, or the end of the run, wants its end."""
        self.at_work = False
        """It has said that it has registered. Only workers say so."""
        self._freezers = 0
        self._freezing = threading.Lock()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        """What it ended with; minus the signal that killed it; None while it lives."""
        return self.process.poll()

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            self.process.send_signal(number)

    @property
    def frozen(self) -> bool:
        return self._freezers > 0

    def freeze(self) -> None:
        with self._freezing:
            self._freezers += 1
            self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        with self._freezing:
            self._freezers = max(0, self._freezers - 1)
            if not self._freezers:
                self.send(signal.SIGCONT)

    def kill_group(self) -> None:
        """With all that it has started and that stayed in its group."""
        if self.alive:  # not reaped: the number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self, count: int = 5) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def start(
    name: str, role: MemberRole, arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, ready: int
) -> Child:
    """Runs `python ARGUMENTS` in `folder`; what it says goes to the end of logs/NAME.log there. `ready` is the end of a
    pipe that is written to. Only from a thread that lives as long as the run: the kernel takes the end of that for the
    end of the parent."""
    log = folder / "logs" / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            env={**without_settings(os.environ), **environment, **({READY: str(ready)} if role == "worker" else {})},
            pass_fds=(ready,) if role == "worker" else (),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid()),
        )
    return Child(name, role, process, log)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What the user has set for programs of his own is not for ours."""
    return {name: value for name, value in environment.items() if not name.startswith("DTSCHED_")}


def left_behind(run: str, *, but: Iterable[int] = ()) -> list[int]:
    """The processes, zombies aside, that were started by members of this run and still live. Linux only."""
    mark = f"{RUN}={run}".encode()
    spared = {os.getpid(), *but}
    found = (int(process.name) for process in Path("/proc").glob("[0-9]*") if mark in _environment(process))
    return [pid for pid in found if pid not in spared]


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it is gone, or somebody else's
        return []


def _die_with(parent: int) -> None:
    """Runs in the child, before its program does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the kernel was asked
        os._exit(1)

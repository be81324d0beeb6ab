"""Child processes of one command: started in a session of their own, ended in order, and never left behind.

Secrets travel in the environment: a command line can be read by every user of the machine.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dtsched.cli.echo import Echo
from dtsched.cli.exits import Terminated
from dtsched.errors import DtschedError

PARENT = "DTSCHED_PARENT_PID"
READY = "DTSCHED_READY_FD"
GRACE_SECONDS = 10.0


@dataclass
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path | None
    echo: Echo | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def last_lines(self, count: int = 5) -> str:
        if self.echo is not None:
            return self.echo.last_lines(count)
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log else ""


class Family:
    """The children of this process; leaving its `with` block ends them all, whatever happened inside.

    What they write goes to files in `logs`, or without that where our own stderr goes: `echoed` passes it on there and
    remembers the end of it.
    """

    def __init__(self, logs: Path | None = None, *, echoed: bool = False) -> None:
        self.logs = logs
        self._echoed = echoed
        self.children: list[Child] = []

    def __enter__(self) -> "Family":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, ready: int | None = None
    ) -> Child:
        """Runs `dtsched ARGUMENTS`, which may announce() itself on the pipe `ready`."""
        log = self.logs / f"{name}.log" if self.logs else None
        echo = Echo() if self._echoed else None
        with ExitStack() as files:
            output = files.enter_context(log.open("wb")) if log else sys.stderr
            if echo is not None:
                output = files.enter_context(open(echo.descriptor, "wb"))
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dtsched", *arguments],
                env={**os.environ, **environment, **ready_variable(ready), PARENT: str(os.getpid())},
                pass_fds=() if ready is None else (ready,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends them in order
            )
        child = Child(name, process, log, echo)
        self.children.append(child)
        return child

    async def until(
        self, what: str, seconds: float, reached: Callable[[], Awaitable[bool]], pause_seconds: float = 0.05
    ) -> None:
        """Waits for as long as all children live. Raises DtschedError when one dies or it takes too long."""
        deadline = time.monotonic() + seconds
        while not await reached():
            self.require_all()
            if time.monotonic() > deadline:
                raise DtschedError(f"waited {seconds:.0f} s in vain until {what}")
            await asyncio.sleep(pause_seconds)

    def require_all(self) -> None:
        dead = self.dead()
        if dead is not None:
            said = dead.last_lines()
            raise DtschedError(
                f"{dead.name} ended by itself with code {dead.process.returncode}; its last words: {said}"
            )

    def dead(self) -> Child | None:
        return next((child for child in self.children if not child.alive), None)

    def forget(self, child: Child) -> None:
        """The child's end was wanted: dead() no longer speaks of it."""
        self.children.remove(child)

    def end(self) -> None:
        """Asks all to stop, waits for them together, then kills what is left."""
        for child in self.children:
            send(child, signal.SIGCONT)
            send(child, signal.SIGTERM)
        try:
            wait_for(self.children, time.monotonic() + GRACE_SECONDS)
        finally:  # also when a second Ctrl-C cuts the waiting short
            for child in self.children:
                send(child, signal.SIGKILL)
            wait_for(self.children, None)
        self.children.clear()


def ready_variable(ready: int | None) -> dict[str, str]:
    return {} if ready is None else {READY: str(ready)}


def announce(message: str) -> None:
    """Tells the process that started this one, if it wants to know, that it is at work: one line, once."""
    descriptor = os.environ.pop(READY, None)
    if descriptor is not None:
        with suppress(OSError, ValueError):  # nobody listens any more
            os.write(int(descriptor), f"{message}\n".encode())
            os.close(int(descriptor))


def wait_for(children: list[Child], deadline: float | None) -> None:
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))


def send(child: Child, signal_number: signal.Signals) -> None:
    if child.alive:
        child.process.send_signal(signal_number)


def follow_parent() -> None:
    """In a child: stop when the process that started it is gone, even if that one was killed. No effect elsewhere."""
    parent = os.environ.get(PARENT)
    if parent is not None:
        threading.Thread(target=_stop_when_orphaned, args=(int(parent),), daemon=True, name="follow-parent").start()


def _stop_when_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)  # the database may be gone too, and with it an orderly end
    os._exit(1)


@contextmanager
def termination_raises() -> Generator[None]:
    """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that every `with` cleans up."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    with ExitStack() as restore:
        for number in (signal.SIGTERM, signal.SIGHUP):
            restore.callback(signal.signal, number, signal.signal(number, stop))
        yield

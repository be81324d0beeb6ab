"""Runs plain handlers in a child process: one a slot, started at the slot's first such job and kept for the next ones.

A process can be killed. That is how a handler is stopped here, and why it never keeps its slot. The child is a new
interpreter (see child.py): a fork of a worker, with its threads and their locks, would hang sooner or later.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import msgspec

from dtsched import logs
from dtsched.answers import Outcome
from dtsched.context import Context, Notes
from dtsched.correlation import fields
from dtsched.errors import InvalidInput
from dtsched.runtime.child import Call, Greeting, locate
from dtsched.runtime.joblogs import kept_level
from dtsched.runtime.relay import NOTE, SIZE_BYTES, framed, relay
from dtsched.store import Claimed
from dtsched.tasks import TaskDefinition, TaskRegistry

START_SECONDS = 60.0
"""How long a child may take to import the handlers. An attempt's timeout begins after that."""

_END_SECONDS = 0.5
_LOOK_SECONDS = 0.002

_CODE = "import sys; sys.path[:] = sys.argv[3:]; from dtsched.runtime.child import main; main(*map(int, sys.argv[1:3]))"

_encode = msgspec.json.Encoder().encode
_read_outcome = msgspec.json.Decoder(Outcome).decode


class ProcessDied(Exception):
    """The message says how, in words that follow "its process"."""


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lifeline: ExitStack

    def kill(self) -> None:
        """With all that it has started. Whoever waits for its answer is woken. Called again: nothing."""
        if self.process.returncode is None:  # not reaped: the number is still its own
            with suppress(ProcessLookupError, PermissionError):  # on macOS a group of zombies is not permitted
                os.killpg(self.process.pid, signal.SIGKILL)
        self.writer.transport.abort()
        self.lifeline.close()

    async def reaped(self) -> int | None:
        """The code it ended with; None if it does not end, as in a system call that cannot be interrupted."""
        deadline = asyncio.get_running_loop().time() + _END_SECONDS
        while (code := self.process.poll()) is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        return code


class HandlerProcess:
    """Not to be used by two tasks at once, except for kill()."""

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        self._child: _Child | None = None
        self._killed: list[_Child] = []

    async def start(self) -> None:
        """Unless it runs already. Raises ProcessDied, and OSError where no process is to be had."""
        if self._child is not None and self._child.process.poll() is None:
            return
        self.kill()
        await self._reap()
        self._child = child = await _spawn()
        greeting = Greeting(
            homes=_homes(self._registry),
            logs=logs.configured(),
            root_level=logging.getLogger().level,
            job_log_level=kept_level(),
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ask(child, _encode(greeting))
        except TimeoutError as error:
            self.kill()
            await child.reaped()
            raise ProcessDied(f"its process had not loaded the handlers after {START_SECONDS:g} s") from error

    async def call(self, claimed: Claimed, context: Context, *, max_result: int) -> Outcome:
        """How the attempt ended; what it tells before goes to the context's notes. Raises ProcessDied, also when that
        was by kill()."""
        if self._child is None:
            raise ProcessDied("its process was killed before it began")
        call = Call(
            claimed,
            queue=context.queue,
            worker_id=context.worker_id,
            carried=dict(fields()),
            max_result=max_result,
        )
        return _read_outcome(await self._ask(self._child, _encode(call), context.notes))

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._killed.append(self._child)
            self._child = None

    async def close(self) -> None:
        """Lets an idle child end in order, or kills it when it does not."""
        child, self._child = self._child, None
        if child is not None:
            child.writer.close()
            await child.reaped()
            child.kill()
            await child.reaped()
        await self._reap()

    async def _reap(self) -> None:
        while self._killed:
            await self._killed.pop().reaped()

    async def _ask(self, child: _Child, frame: bytes, notes: Notes | None = None) -> bytes:
        try:
            child.writer.write(framed(frame))
            while (answer := await _frame(child.reader)).startswith(NOTE):
                if notes is not None:
                    relay(answer, notes)
            return answer
        except (asyncio.IncompleteReadError, OSError) as error:
            child.kill()  # what it started may live on; the code of a process that has ended stays what it was
            if self._child is child:
                self._child = None
            raise ProcessDied(_obituary(await child.reaped())) from error


async def _frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(SIZE_BYTES)))


def require_importable(registry: TaskRegistry) -> None:
    """InvalidInput for a task whose handler a child could not find. Asked by workers only: a script that only submits
    may define what it likes."""
    for definition in registry.values():
        if definition.executor == "process" and not _is_importable(definition):
            function = definition.function
            raise InvalidInput(
                f'task {definition.name}: executor="process" imports the handler in another process, and there is no '
                f"{function.__qualname__} to be found in the module {function.__module__}: define it at the top of a "
                "module that is imported, not run",
                field="executor",
            )


def _is_importable(definition: TaskDefinition) -> bool:
    function = definition.function
    try:
        return function.__module__ != "__main__" and locate(*_home(definition)) is function
    except (ImportError, AttributeError):
        return False


def _homes(registry: TaskRegistry) -> dict[str, tuple[str, str]]:
    return {name: _home(definition) for name, definition in registry.items() if definition.executor == "process"}


def _home(definition: TaskDefinition) -> tuple[str, str]:
    return definition.function.__module__, definition.function.__qualname__


async def _spawn() -> _Child:
    with ExitStack() as on_failure, ExitStack() as theirs:
        ours, channel = socket.socketpair()
        theirs.callback(channel.close)
        on_failure.callback(ours.close)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        on_failure.callback(writer.transport.abort)
        lifeline, held = os.pipe()
        theirs.callback(os.close, lifeline)
        ends = ExitStack()
        ends.callback(os.close, held)
        on_failure.callback(ends.close)
        process = _popen(channel.fileno(), lifeline)
        on_failure.pop_all()
        return _Child(process, reader, writer, ends)


def _popen(channel: int, lifeline: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, str(channel), str(lifeline), *sys.path],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what handlers print is not the worker's output
        pass_fds=(channel, lifeline),
        start_new_session=True,  # a group of its own, to be killed as one, and out of reach of Ctrl-C
    )


def _obituary(code: int | None) -> str:
    if code is None:
        return "its process was killed and has not ended yet"
    if code >= 0:
        return f"its process ended by itself with exit code {code}"
    try:
        return f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"its process was killed by signal {-code}"

"""What a slot's child process runs: plain handlers of executor="process", one after the other, in its main thread.

Calls and outcomes travel as frames, a length and JSON, over a socket of their own: handlers may print. Handlers are
found by the module and the name that the worker's own registry gives, never by anything from the database.
"""

import faulthandler
import io
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import BinaryIO, Literal, NoReturn, cast
from uuid import UUID

import msgspec

from dtsched.answers import Outcome
from dtsched.context import Context
from dtsched.correlation import carry, carrying
from dtsched.errors import DtschedError, InvalidInput
from dtsched.logs import configure
from dtsched.runtime import outcomes
from dtsched.runtime.attempt import Attempt, correlation_id_of
from dtsched.runtime.completion import Completion
from dtsched.runtime.joblogs import OFF, JobLogHandler
from dtsched.runtime.relay import SIZE_BYTES, ProcessNotes, Sender
from dtsched.store import Claimed
from dtsched.tasks import TaskDefinition


class Greeting(msgspec.Struct, frozen=True):
    """The first frame. `homes` are the module and the qualified name of each task's function; `logs` what
    logs.configure() takes, or None where the worker logs in another way, from `root_level` on; `job_log_level` is what
    joblogs.kept_level() says."""

    homes: dict[str, tuple[str, str]]
    logs: tuple[Literal["json", "text"], str] | None
    root_level: int
    job_log_level: str


class Call(msgspec.Struct, frozen=True):
    """One attempt. `carried` are the fields of its log records and of the jobs it submits."""

    claimed: Claimed
    queue: str
    worker_id: UUID
    carried: dict[str, str | int]
    max_result: int


_read_greeting = msgspec.json.Decoder(Greeting).decode
_read_call = msgspec.json.Decoder(Call).decode
_write_outcome = msgspec.json.Encoder().encode


def main(channel_number: int, lifeline: int) -> None:
    """Until the worker closes the channel. An empty frame says that the handlers are loaded."""
    end_with_the_worker(lifeline)
    _leave_stopping_to_the_worker()
    _keep_to_ourselves(channel_number, lifeline)
    faulthandler.enable()  # a crash says on stderr where it was
    cast("io.TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)  # a killed process writes nothing more
    with socket.socket(fileno=channel_number) as channel, channel.makefile("rb") as frames:
        if (greeting := _receive(frames)) is None:
            return
        sender = Sender(channel)
        tasks = _greeted(_read_greeting(greeting), sender)
        sender.end(b"")
        while (call := _receive(frames)) is not None:
            sender.end(_answer(_read_call(call), tasks, sender))


def locate(module: str, qualname: str) -> Callable[..., object]:
    """The function of that name, also where a Task has taken its place in the module."""
    found: object = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    definition = getattr(found, "definition", None)
    return definition.function if isinstance(definition, TaskDefinition) else cast("Callable[..., object]", found)


def end_with_the_worker(lifeline: int) -> None:
    """Also when it is killed, and in the middle of a handler. `lifeline` reads from a pipe into which nothing is ever
    written, and whose other end only the worker holds."""
    if sys.platform == "linux":  # the kernel sees to it, also while a handler keeps the interpreter to itself
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=follow, args=(lifeline,), name="dtsched-lifeline", daemon=True).start()
    ended = select.poll()
    ended.register(lifeline)
    if ended.poll(0):  # before the kernel was asked
        _kill_group()


def follow(lifeline: int) -> None:
    """end_with_the_worker(), for systems without a signal for it."""
    os.read(lifeline, 1)
    _kill_group()


def _kill_group() -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _leave_stopping_to_the_worker() -> None:
    """Handlers that do nothing, since what is ignored stays ignored in every program that a handler starts."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)


def _keep_to_ourselves(*descriptors: int) -> None:
    """What a handler starts or forks must not hold the channel open, nor answer on it, nor outlive its signals."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)

    def forget() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptors[0], inheritable=False)
        os.close(nothing)

    os.register_at_fork(after_in_child=forget)


def _receive(frames: BinaryIO) -> bytes | None:
    size = frames.read(SIZE_BYTES)
    return frames.read(int.from_bytes(size)) if len(size) == SIZE_BYTES else None


def _greeted(greeting: Greeting, sender: Sender) -> "_Tasks":
    level = greeting.job_log_level
    if greeting.logs is not None:
        configure(*greeting.logs, also=None if level == OFF else level)
    else:
        logging.getLogger().setLevel(greeting.root_level)
    tasks = _Tasks(greeting.homes)
    for name in greeting.homes:
        with suppress(BaseException):  # the jobs of that task will say so; SystemExit too
            tasks.definition(name)
    if level != OFF:  # after the handlers' modules, which may configure logging
        logging.getLogger().addHandler(JobLogHandler(level, sender.line))
    return tasks


class _Tasks:
    """A task whose module cannot be imported is tried again at its next job."""

    def __init__(self, homes: Mapping[str, tuple[str, str]]) -> None:
        self._homes = homes
        self._definitions: dict[str, TaskDefinition] = {}

    def definition(self, name: str) -> TaskDefinition:
        if name not in self._definitions:
            self._definitions[name] = TaskDefinition(locate(*self._homes[name]), name=name, executor="process")
        return self._definitions[name]


def _answer(call: Call, tasks: _Tasks, sender: Sender) -> bytes:
    attempt = Attempt(call.claimed, claimed_at=0.0)
    carry(attempt)
    sender.begin(attempt)
    try:
        return _write_outcome(_run(attempt, call, tasks, sender))
    except Exception as error:  # a handler brought an outcome that is none: a delay that is no number
        return _write_outcome(outcomes.failed(attempt, "InvalidInput", f"an outcome cannot be sent: {error}"))


def _run(attempt: Attempt, call: Call, tasks: _Tasks, sender: Sender) -> Outcome | None:
    try:
        definition = tasks.definition(call.claimed.task)
        try:
            args, kwargs = definition.decode(call.claimed.args)
        except InvalidInput as error:  # the same args will never fit: no retries
            return outcomes.failed(attempt, "InvalidInput", str(error))
        if definition.takes_context:
            attempt.context = _context(call, ProcessNotes(sender, attempt))
            args = (attempt.context, *args)
        with carrying(call.carried):
            outcome = outcomes.of_value(attempt, definition.function(*args, **kwargs), call)
    except BaseException as error:  # SystemExit in a handler is its failure, not the end of its process
        outcome = outcomes.of_raised(attempt, error)
    completing = attempt.context is not None and attempt.context.completing
    return outcomes.after_completion(outcome) if completing else outcome


def _context(call: Call, notes: ProcessNotes) -> Context:
    claimed = call.claimed
    return Context(
        job_id=claimed.job_id,
        task=claimed.task,
        queue=call.queue,
        attempt=claimed.attempt,
        max_attempts=claimed.max_attempts,
        worker_id=call.worker_id,
        correlation_id=correlation_id_of(claimed),
        read_parents=_refuse_parents,
        completion=Completion(call.worker_id, claimed.lease_id),
        notes=notes,
    )


async def _refuse_parents(job_id: int) -> NoReturn:
    raise DtschedError(
        f"job {job_id}: parents() is for async handlers: a handler in a process has no connection to the database"
    )

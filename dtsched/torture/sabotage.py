"""Tasks that do harm to the worker that runs them, at the moment that a fault names.

A handler of these says in DIR/sabotage/JOB.ATTEMPT.here in which process it is, and goes on when JOB.ATTEMPT.go says
when, or that it is to do no harm: so a fault knows whom it is going to hit, and several handlers of one process can do
their harm in the same round of its event loop. But for poison they do harm in their first attempt alone, and their jobs
come right.

Their args are those of every task of a run: a name, and a payload, which says what to do.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

from dtsched import App, Context, Fail, Retry
from dtsched.torture.digests import digest
from dtsched.torture.history import Recorder
from dtsched.torture.surroundings import folder_of_run, history_of_run

ALSO = "DTSCHED_TORTURE_ALSO"
"""Names, with commas, under which a worker knows do_nothing too: tasks that were renamed, or that are to come."""

QUIET_QUEUE = "quiet"
"""Where workers sleep: a queue that is busy is looked at after each job, whatever they hear or do not."""

PATIENCE_SECONDS = 60.0
LATE_SECONDS = 3.0

_LOOK_SECONDS = 0.01
_AGAIN = Retry(50, backoff="fixed", base=0.2)
_MANY = 1000

Payload = dict[str, Any]
Result = dict[str, Any]
Poison = Literal["kill", "exit", "segfault", "recursion", "memory"]

_PYTHON_HELD = ctypes.PyDLL(None)  # whose calls keep the interpreter to themselves
_MACHINE = ctypes.CDLL(None)


class NobodyCame(Exception):
    """No fault said when to go on."""


async def do_nothing(context: Context, name: str, payload: Payload) -> Result:
    with attempt(context, name, payload):
        return conclude(context, name)


async def be_found(context: Context, name: str, payload: Payload) -> Result:
    """In a queue that has no others."""
    with attempt(context, name, payload):
        return conclude(context, name)


async def take_time(context: Context, name: str, payload: Payload) -> Result:
    """`seconds` of it."""
    with attempt(context, name, payload):
        await asyncio.sleep(payload["seconds"])
        return conclude(context, name)


async def fail_at_once(context: Context, name: str, payload: Payload) -> Result:
    """For good."""
    with attempt(context, name, payload):
        raise Fail("told to")


async def stand_by(context: Context, name: str, payload: Payload) -> Result:
    """Holds its slot until it is told to go on."""
    with attempt(context, name, payload):
        if context.attempt == 1:
            await told_to_go(context)
        return conclude(context, name)


async def return_and_die(context: Context, name: str, payload: Payload) -> Result:
    """Between the end of the handler and the commit of its completion, or `after_seconds` later."""
    with attempt(context, name, payload):
        if context.attempt == 1 and await told_to_go(context):
            die_soon(payload["after_seconds"])
        return conclude(context, name)


async def block_the_loop(context: Context, name: str, payload: Payload) -> Result:
    """For so many `seconds`; `held`: and all other threads of Python with it."""
    with attempt(context, name, payload):
        if context.attempt == 1 and await told_to_go(context):
            block(payload["seconds"], held=payload["held"])
        return conclude(context, name)


async def take_poison(context: Context, name: str, payload: Payload) -> Result:
    """In every attempt."""
    with attempt(context, name, payload):
        await told_to_go(context)
        die(payload["poison"])


async def ignore_cancellation(context: Context, name: str, payload: Payload) -> Result:
    """Goes on for so many `seconds`, whatever it is told; what it returns after that is not looked at."""
    with attempt(context, name, payload):
        here(context)
        told = False
        over = time.monotonic() + payload["seconds"]
        while context.attempt == 1 and (left := over - time.monotonic()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                told = True
        if told:
            note(context, name, "end", outcome="cancelled")
            return {}
        return conclude(context, name)


def ignore_timeout(context: Context, name: str, payload: Payload) -> Result:
    """In a process of its own, which is the only way to end it."""
    with attempt(context, name, payload):
        if context.attempt == 1:
            here(context, os.getppid())
            time.sleep(payload["seconds"])
        return conclude(context, name)


def leave_a_child(context: Context, name: str, payload: Payload) -> Result:
    """In a process of its own; its child makes the file JOB.late, unless it ends with the worker."""
    with attempt(context, name, payload):
        if context.attempt == 1:
            late = sabotage_of_run() / f"{context.job_id}.late"
            with subprocess.Popen(["sh", "-c", f'sleep {LATE_SECONDS}; : > "$0"', late]) as child:
                here(context, os.getppid())
                child.wait()
        return conclude(context, name)


async def fork_and_go_on(context: Context, name: str, payload: Payload) -> Result:
    """The copy of the worker holds all its sockets for so many `seconds`, then ends without a word."""
    with attempt(context, name, payload):
        if context.attempt == 1 and await told_to_go(context):
            child = os.fork()
            if child == 0:
                time.sleep(payload["seconds"])  # noqa: ASYNC251  (there is no loop here)
                os._exit(0)
            await asyncio.to_thread(os.waitpid, child, 0)
        return conclude(context, name)


def add_to(app: App) -> None:
    """Registers these tasks, by the names of their functions."""
    for function in (do_nothing, take_time, fail_at_once, stand_by, return_and_die, block_the_loop, fork_and_go_on):
        app.task(retry=_AGAIN, max_crashes=_MANY)(function)
    app.task(retry=_AGAIN, max_crashes=_MANY)(ignore_cancellation)
    app.task(queue=QUIET_QUEUE, retry=_AGAIN, max_crashes=_MANY)(be_found)
    for in_process in (ignore_timeout, leave_a_child):
        app.task(executor="process", retry=_AGAIN, max_crashes=_MANY)(in_process)
    app.task(retry=Retry(2, backoff="fixed", base=0.2))(take_poison)
    for name in filter(None, os.environ.get(ALSO, "").split(",")):
        app.task(name=name, retry=_AGAIN, max_crashes=_MANY)(do_nothing)


@contextmanager
def attempt(context: Context, name: str, payload: Payload) -> Generator[None]:
    """Writes that it starts and, when something is raised, how it ends."""
    note(context, name, "start", digest=digest({"name": name, "payload": payload}))
    try:
        yield
    except asyncio.CancelledError:
        note(context, name, "end", outcome="cancelled")
        raise
    except BaseException as error:
        note(context, name, "end", outcome="raise", error=type(error).__name__)
        raise


def conclude(context: Context, name: str) -> Result:
    """The result, which is written down before it is returned."""
    note(context, name, "effect")
    result = {"name": name, "attempt": context.attempt}
    note(context, name, "end", outcome="return", result=digest(result))
    return result


def note(
    context: Context, name: str, op: Literal["start", "effect", "end"], *, digest: str | None = None, **more: object
) -> None:
    recorder(os.getpid())(
        op, "ok", key=name, job=context.job_id, lease=context.lease_id, attempt=context.attempt, digest=digest, **more
    )


def here(context: Context, process_id: int | None = None) -> None:
    """Whole or not at all: somebody waits for it."""
    place = sabotage_of_run() / f"{context.job_id}.{context.attempt}"
    unfinished = place.with_suffix(f".{context.attempt}.new")
    unfinished.write_text(str(process_id or os.getpid()))
    unfinished.rename(place.with_suffix(f".{context.attempt}.here"))


async def told_to_go(context: Context) -> bool:
    """Returns at the moment that is named, by CLOCK_MONOTONIC, which is the event loop's; at once where it is told to
    do no harm, with False."""
    here(context)
    go = sabotage_of_run() / f"{context.job_id}.{context.attempt}.go"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):  # half written
            moment = float(go.read_text())
            if moment > 0:
                await until(moment)
            return moment > 0
        await asyncio.sleep(_LOOK_SECONDS)
    raise NobodyCame


async def until(moment: float) -> None:
    """All who wait for the same one go on in the same round of the event loop."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.call_at(moment, _reach, reached)
    await reached


def _reach(reached: "asyncio.Future[None]") -> None:
    if not reached.done():
        reached.set_result(None)


def die_soon(after_seconds: float) -> None:
    """At 0 in the next round of the event loop, before whoever has its turn there for the sake of what returns now."""
    loop = asyncio.get_running_loop()
    if after_seconds:
        loop.call_later(after_seconds, os.kill, os.getpid(), signal.SIGKILL)
    else:
        loop.call_soon(os.kill, os.getpid(), signal.SIGKILL)


def block(seconds: float, *, held: bool) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        (_PYTHON_HELD if held else _MACHINE).poll(None, 0, int(left * 1000) + 1)


def die(poison: Poison) -> NoReturn:
    match poison:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(1)
        case "segfault":
            ctypes.string_at(0)
        case "memory":
            bytearray(1 << 60)
        case "recursion":
            descend()
    raise AssertionError(f"survived {poison}")


def descend() -> NoReturn:
    descend()


def sabotage_of_run() -> Path:
    return folder_of_run() / "sabotage"


_RECORDERS: dict[int, Recorder] = {}


def recorder(process_id: int) -> Recorder:
    """Of this process: one that was forked off has a file of its own. Threads that ask at once are given the same one,
    and wait for no lock, which a fork might find taken."""
    found = _RECORDERS.get(process_id)
    return found or _RECORDERS.setdefault(process_id, Recorder(history_of_run(), "worker"))


app = App()
"""For a stage that has these tasks and no others."""

add_to(app)

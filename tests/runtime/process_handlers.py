"""Tasks whose handlers run in processes of their own. They are imported there, so they stand in a module."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import msgspec

from dtsched import App, Cancel, Context, Retry, Snooze
from tests.runtime.handlers import record, recorded

app = App()


class Point(msgspec.Struct):
    x: int
    y: int


@app.task(executor="process")
def whereabouts() -> dict[str, int]:
    return {"pid": os.getpid(), "parent": os.getppid(), "group": os.getpgrp()}


@app.task(executor="process")
def shift(ctx: Context, point: Point, by: date | None = None, *, factor: int = 2) -> list[object]:
    assert isinstance(point, Point)
    return [point.x * factor, point.y * factor, by, ctx.attempt, ctx.queue, ctx.correlation_id, ctx.cancelled]


@app.task(executor="process")
def compute(path: str) -> None:
    """In one call into C, which gives no other thread of the process a turn."""
    record(path, str(os.getpid()))
    sum(range(10**13))


@app.task(executor="process")
def have_computed(path: str) -> None:
    """By a process that the handler has started and waits for."""
    record(path, str(os.getpid()))
    with subprocess.Popen(["sleep", "600"]) as sleep:
        record(path, str(sleep.pid))


@app.task(executor="process")
def sleep_unless_retried(ctx: Context, path: str) -> int:
    if ctx.attempt == 1:
        record(path, str(os.getpid()))
        time.sleep(600)
    return os.getpid()


@app.task(executor="process")
def exit_at_once(code: int) -> None:
    os._exit(code)


@app.task(executor="process")
def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(600)


@app.task(executor="process")
def leave_one_behind_and_die(path: str) -> None:
    if (pid := os.fork()) == 0:
        time.sleep(600)
        os._exit(0)
    record(path, str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process")
def stumble() -> None:
    raise KeyError("a\x00b")


@app.task(executor="process")
def quit_it() -> None:
    sys.exit(3)


@app.task(executor="process")
def return_nonsense() -> object:
    return object()


@app.task(executor="process")
def return_much() -> str:
    return "x" * (1024 * 1024 - 2)


@app.task(executor="process")
def answer(kind: str, path: str) -> None:
    """In that way the first time."""
    record(path, kind)
    if recorded(Path(path)).count(kind) > 1:
        return
    answers = {"retry": Retry(after="20ms"), "snooze": Snooze("20ms"), "cancel": Cancel("no longer wanted")}
    raise answers[kind]


@app.task(executor="process")
def ask_for_parents(ctx: Context) -> None:
    asyncio.run(ctx.parents())


@app.task(executor="process")
def say(text: str) -> None:
    """A process that is killed writes nothing more."""
    print(f"printed {text}")
    logging.getLogger("handlers").info("logged %s", text)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process")
def ignore_signals() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)


@app.task(executor="process")
def stop_what_it_started() -> int:
    with subprocess.Popen(["sleep", "600"]) as sleep:
        sleep.terminate()
        return sleep.wait(10)


@app.task(executor="process")
def square_in_a_pool(numbers: list[int]) -> list[int]:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(abs, numbers)


@app.task
def in_a_thread() -> int:
    return os.getpid()


@app.task(executor="process")
def take_a_step(ctx: Context) -> None:
    ctx.step_sync("charge", dict)

"""Tasks whose handlers fail, linger and complete, by every executor. They are imported by worker processes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any, cast

import psycopg

from dtsched import App, Context, Fail, Retry
from tests.runtime.handlers import record, recorded

app = App()

RULES = Retry(
    3,
    on=(TimeoutError, ConnectionError),
    never=ConnectionRefusedError,
    delays={ConnectionResetError: 0.01},
    base=0.02,
    jitter=0,
)


class Busy(ConnectionResetError):
    """By its base class it is retried, with that one's delay."""


def stumble(name: str) -> None:
    if name == "Fail":
        raise Fail("no such address")
    kinds: dict[str, type[Exception]] = {kind.__name__: kind for kind in (*ORDINARY, Busy)}
    raise kinds[name]("stumbled")


ORDINARY = (TimeoutError, ConnectionError, ConnectionRefusedError, ValueError, Retry)


@app.task(retry=RULES)
async def stumble_async(name: str) -> None:
    stumble(name)


@app.task(retry=RULES)
def stumble_thread(name: str) -> None:
    stumble(name)


@app.task(retry=RULES, executor="process")
def stumble_process(name: str) -> None:
    stumble(name)


@app.task(retry=Retry(3, never=TimeoutError), timeout=0.05)
async def too_slow() -> None:
    await asyncio.sleep(60)


@app.task
async def return_fail() -> Fail:
    return Fail("not possible")


@app.task
async def linger_async(path: str) -> None:
    record(path, "begins")
    try:
        await asyncio.sleep(60)
    finally:
        record(path, "told")


@app.task
def linger_thread(ctx: Context, path: str) -> None:
    record(path, "begins")
    while not ctx.cancelled:
        time.sleep(0.005)
    record(path, "told")


@app.task(executor="process")
def linger_process(path: str) -> None:
    record(path, "begins")
    record(f"{path}.pid", str(os.getpid()))
    time.sleep(60)


@app.task(timeout=0.3, retry=Retry(2, base=0.01))
async def block_the_loop(ctx: Context, path: str) -> None:
    """In its first attempt, so that not even its worker can stop it."""
    record(path, f"attempt {ctx.attempt}")
    if ctx.attempt == 1:
        time.sleep(2.5)  # noqa: ASYNC251


@app.task(executor="process", max_crashes=2, retry=Retry(1000, base=0))
def die(path: str, how: str) -> None:
    record(path, how)
    end_this_process(how)


def end_this_process(how: str) -> None:
    """The kernel's remedy for want of memory is `kill`."""
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(max_crashes=2, retry=Retry(1000, base=0))
async def kill_the_worker(path: str, how: str) -> None:
    while (lines := recorded(Path(path))).count("beside") < 2 + 2 * lines.count("dies"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    record(path, "dies")
    end_this_process(how)


@app.task
async def run_beside(path: str) -> None:
    record(path, "beside")
    await asyncio.sleep(1)


@app.task(executor="process", retry=Retry(2, base=0))
def ask_for_too_much_memory() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    return len(bytearray(8 << 30))


def reach(ctx: Context, here: str, step: str) -> None:
    """The worker is killed where the test says, in the first attempt."""
    if ctx.attempt == 1 and here == step:
        os.kill(os.getppid() if ctx.task == "transfer_process" else os.getpid(), signal.SIGKILL)
        time.sleep(60)  # a child outlives its worker for a moment


INSERT = "insert into public.effects (job, attempt) values (%s, %s)"


@app.task(retry=Retry(5, base=0.01))
async def transfer_async(ctx: Context, dsn: str, step: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        reach(ctx, "before the effects", step)
        await connection.execute(INSERT, (ctx.job_id, ctx.attempt))
        reach(ctx, "before the completion", step)
        await ctx.complete_in(connection, {"attempt": ctx.attempt})
        reach(ctx, "before the commit", step)
        if ctx.attempt == 1 and step == "raise":
            raise ValueError("rolls back")
        if ctx.attempt == 1 and step == "roll back":
            await connection.rollback()
    reach(ctx, "after the commit", step)
    if ctx.attempt == 1 and step == "raise after the commit":
        raise ValueError("too late to matter")


def transfer(ctx: Context, dsn: str, step: str) -> None:
    with psycopg.connect(dsn) as connection:
        reach(ctx, "before the effects", step)
        connection.execute(INSERT, (ctx.job_id, ctx.attempt))
        reach(ctx, "before the completion", step)
        ctx.complete_in_sync(connection, {"attempt": ctx.attempt})
        reach(ctx, "before the commit", step)
        if ctx.attempt == 1 and step == "raise":
            raise ValueError("rolls back")
        if ctx.attempt == 1 and step == "roll back":
            connection.rollback()
    reach(ctx, "after the commit", step)
    if ctx.attempt == 1 and step == "raise after the commit":
        raise ValueError("too late to matter")


@app.task(retry=Retry(5, base=0.01))
def transfer_thread(ctx: Context, dsn: str, step: str) -> None:
    transfer(ctx, dsn, step)


@app.task(executor="process", retry=Retry(5, base=0.01))
def transfer_process(ctx: Context, dsn: str, step: str) -> None:
    transfer(ctx, dsn, step)


@app.task(retry=Retry(5, base=0.01))
def transfer_by_sql(ctx: Context, dsn: str, step: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(INSERT, (ctx.job_id, ctx.attempt))
        connection.execute("select dtsched.complete(%s, %s, '\"by SQL\"')", (ctx.worker_id, ctx.lease_id))


@app.task(retry=Retry(1))
async def complete_outside(ctx: Context, dsn: str, step: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=step == "autocommit") as connection:
        await (ctx.complete_in(connection) if step == "autocommit" else cast("Any", ctx.complete_in_sync)(connection))


@app.task(executor="process", retry=Retry(5, base=0.01))
def linger_in_a_process(ctx: Context, dsn: str, path: str) -> None:
    with psycopg.connect(dsn) as connection:
        ctx.complete_in_sync(connection)
    record(path, "completed")
    time.sleep(1)
    record(path, "ends")


@app.task(retry=Retry(5, base=0.01))
async def linger_after_completing(ctx: Context, dsn: str, path: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await ctx.complete_in(connection)
    record(path, "completed")
    await asyncio.sleep(1)
    record(path, "ends")

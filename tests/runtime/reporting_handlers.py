"""Tasks that log and tell their progress, for workers that run as processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time

from dtsched import App, Context

app = App()
_log = logging.getLogger("shop")
LINES = 5


@app.task
async def in_loop(ctx: Context, name: str) -> None:
    for n in range(LINES):
        _log.info("%s %d", name, n)
        await asyncio.sleep(0.01)
    ctx.progress(1, name)


@app.task
def in_thread(ctx: Context, name: str) -> None:
    for n in range(LINES):
        _log.info("%s %d", name, n)
        time.sleep(0.01)
    ctx.progress(1, name)


@app.task(executor="process")
def in_process(ctx: Context, name: str) -> None:
    for n in range(LINES):
        _log.info("%s %d", name, n)
        time.sleep(0.01)
    ctx.progress(1, name)


@app.task(executor="process")
def say_odd_things(ctx: Context) -> str:
    logging.getLogger("odd\x00\ud800").warning("a\x00b\ud800c")
    ctx.log("x" * 5000)
    for n in ctx.track(range(1000)):
        ctx.progress(n / 1000, "ä")
    return "y" * 50


@app.task(executor="process", result=False)
def return_what_is_not_kept() -> int:
    return 5


@app.task(executor="process", max_result=10)
def return_too_much() -> str:
    return "x" * 20


@app.task(executor="process")
def log_and_crash() -> None:
    _log.info("last words")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process")
def fork_and_log(ctx: Context) -> None:
    if (child := os.fork()) == 0:
        _log.info("from the fork")
        ctx.progress(0.5)
        os._exit(0)
    os.waitpid(child, 0)
    _log.info("from the handler")

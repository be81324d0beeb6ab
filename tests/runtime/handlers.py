"""Tasks for workers that run as processes. What a handler did is appended to a file, which survives its worker."""

import asyncio
import os
import time
from pathlib import Path

from dtsched import App, Context

app = App()


def record(path: str, event: str) -> None:
    """One line in one write: several processes append to the same file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{event}\n".encode())
    os.close(descriptor)


def recorded(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@app.task
async def linger(ctx: Context, path: str, seconds: float) -> int:
    """Lingers in its first attempt only, so that whoever repeats it is quick."""
    record(path, f"{ctx.job_id} begins attempt {ctx.attempt}")
    try:
        if ctx.attempt == 1:
            await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        record(path, f"{ctx.job_id} is told to stop")
        raise
    record(path, f"{ctx.job_id} ends attempt {ctx.attempt}")
    return ctx.attempt


@app.task
async def always_linger(ctx: Context, path: str, seconds: float) -> None:
    record(path, f"{ctx.job_id} begins attempt {ctx.attempt}")
    await asyncio.sleep(seconds)
    record(path, f"{ctx.job_id} ends attempt {ctx.attempt}")


@app.task
async def block_the_loop(ctx: Context, path: str, seconds: float) -> None:
    record(path, f"{ctx.job_id} begins attempt {ctx.attempt}")
    time.sleep(seconds)  # noqa: ASYNC251  (that is what is tested)
    record(path, f"{ctx.job_id} ends attempt {ctx.attempt}")


@app.task
async def never_stop(path: str) -> None:
    record(path, "begins")
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            record(path, "does not care")


@app.task
async def note(n: int) -> int:
    return n


@app.task
async def go_through_steps(ctx: Context, path: str, steps: int) -> list[int]:
    """Each step leaves its mark, and then the handler is lost now and then: how often is for the test to say."""
    done: list[int] = []
    for n in range(steps):
        done.append(await ctx.step(f"step:{n}", step_with_a_mark, path, ctx.job_id, n))
        record(path, f"{ctx.job_id} has {n}")
        if n == steps // 2:
            await ctx.sleep(0.05)
    await ctx.wait_event(f"go:{ctx.job_id}", timeout="1m")
    return done


async def step_with_a_mark(path: str, job_id: int, n: int) -> int:
    await asyncio.sleep(0.02)
    record(path, f"{job_id} does {n}")
    return n

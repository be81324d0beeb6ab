"""Two apps with a task of the same name, quick and slow, for workers that run as processes. When a handler began and
ended is written to the table `runs`, which survives its worker."""

import asyncio
import os
from pathlib import Path

import psycopg

from dtsched import App, Context

RUNS = """create table public.runs (
    job bigint, attempt integer, worker text, at timestamptz default clock_timestamp(), ended boolean)"""

fast, slow = App(), App()
_connections: list[psycopg.Connection] = []


def note(ctx: Context, worker: str, *, ended: bool) -> None:
    if not _connections:
        _connections.append(
            psycopg.connect(os.environ["DTSCHED_DSN"], autocommit=True, options="-c synchronous_commit=off")
        )
    _connections[0].execute(
        "insert into public.runs (job, attempt, worker, ended) values (%s, %s, %s, %s)",
        (ctx.job_id, ctx.attempt, worker, ended),
    )


async def run(ctx: Context, worker: str, seconds: float) -> None:
    note(ctx, worker, ended=False)
    await asyncio.sleep(seconds)
    note(ctx, worker, ended=True)


@fast.task(name="work")
async def work_fast(ctx: Context, seconds: float = 0.005) -> None:
    await run(ctx, f"fast {os.getpid()}", seconds)


@slow.task(name="work")
async def work_slow(ctx: Context, seconds: float = 0.05) -> None:
    await run(ctx, f"slow {os.getpid()}", seconds)


@fast.task
async def work_when_told(ctx: Context, path: str) -> None:
    note(ctx, f"fast {os.getpid()}", ended=False)
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240  (a moment)
        await asyncio.sleep(0.01)
    note(ctx, f"fast {os.getpid()}", ended=True)


@fast.task
async def fragile(ctx: Context, broken: str) -> None:
    note(ctx, f"fast {os.getpid()}", ended=False)
    await asyncio.sleep(0.02)
    if Path(broken).exists():  # noqa: ASYNC240  (a moment)
        raise RuntimeError("the other side is down")


@fast.task(name="nap")
async def nap_shortly() -> None:
    await asyncio.sleep(0.005)


@slow.task(name="nap")
async def nap_long() -> None:
    await asyncio.sleep(0.05)

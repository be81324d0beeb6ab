"""Waiting for the end of one job, and saying what came of it."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager

from dtsched.cli.exits import ExitCode
from dtsched.cli.output import print_json, say
from dtsched.cli.wording import at
from dtsched.errors import NotFound
from dtsched.jobs import ENDED, Job
from dtsched.settings import parse_duration
from dtsched.store import Store

SHORTEST_POLL_SECONDS = 0.01
LONGEST_POLL_SECONDS = 0.5


def seconds_of(duration: str | None, *, flag: str) -> float | None:
    return None if duration is None else parse_duration(duration, field=flag)


async def ended(store: Store, job_id: int, seconds: float | None) -> Job | None:
    """The job once it has ended; None when that took longer."""
    async for _ in polls(seconds):
        job = await store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}, or not any more")
        if job.state in ENDED:
            return job
    return None


async def polls(seconds: float | None) -> AsyncGenerator[None]:
    """Rounds with growing pauses between them; over when the time is up, after a last look."""
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    pause = SHORTEST_POLL_SECONDS
    yield
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        yield
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)


@contextmanager
def said_to_go_on(sentence: Callable[[], str]) -> Generator[None]:
    """Ctrl-C ends the waiting and not what is waited for."""
    try:
        yield
    except asyncio.CancelledError:
        say(sentence())
        raise


async def await_end(store: Store, job_id: int, seconds: float | None, *, as_json: bool) -> int:
    """Waits, tells the end and returns the exit code."""
    with said_to_go_on(lambda: f"job {job_id} goes on: `dtsched result {job_id} --wait` waits for it again"):
        job = await ended(store, job_id, seconds)
    if job is None:
        say(f"job {job_id} has not ended within that time; it goes on")
        return ExitCode.TIMED_OUT
    return tell_end(job, as_json=as_json)


def tell_end(job: Job, *, as_json: bool) -> int:
    """Prints the result, or with --json the whole job; returns the exit code."""
    if as_json:
        print_json(job)
    elif job.result_expired_at is not None:
        say(f"job {job.id} completed, and its result expired at {at(job.result_expired_at)}")
        return ExitCode.NOT_FOUND
    elif job.state == "completed":
        print_json(job.result)
    if job.state != "completed":
        say(f"job {job.id} {job.state}: {job.error or 'no reason was given'}")
        return ExitCode.JOB_FAILED
    return ExitCode.OK

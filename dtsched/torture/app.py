"""The tasks of a run, which every worker process serves: they do what behaviour() says, and write down that they did.

    python -P -m dtsched worker -A dtsched.torture.app:app

A job's args are its name and a payload. What a handler is about to do is written before it does it, so the last line
of a killed one says how far it came.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg

from dtsched import App, Context, Fail, Retry, Snooze
from dtsched.connections import parameters
from dtsched.context import Suspended
from dtsched.torture.behaviour import Behaviour, behaviour, kind_of
from dtsched.torture.digests import digest
from dtsched.torture.outbox import EFFECT
from dtsched.torture.sabotage import add_to, die, note
from dtsched.torture.surroundings import poison_is_wanted, seed_of_run

SCHEDULE = "torture-every-second"
MOST_ATTEMPTS = 50
AGAIN = Retry(MOST_ATTEMPTS, backoff="fixed", base=0.2)
MOST_CRASHES = 1000
"""How a job ends is to be decided by what it does, not by how often its workers are killed; but for poison."""

_BEAT_SECONDS = 0.05
_STUBBORN_SECONDS = 0.3
_OVERRUN_SECONDS = 120.0
_OUTCOMES: Mapping[type[BaseException], str] = {
    Snooze: "snooze",
    Suspended: "snooze",
    Retry: "retry",
    asyncio.CancelledError: "cancelled",
}

Args = dict[str, Any]

app = App()
add_to(app)


@app.task(retry=AGAIN, max_crashes=MOST_CRASHES)
async def work(context: Context, name: str, payload: Any) -> Args:
    with attempt(context, name, payload) as told:
        if told.act == "snooze" and await context.step("nap", own_lease, context.lease_id) == context.lease_id:
            raise Snooze(told.delay_ms / 1000)
        if told.act == "sleep":
            await context.sleep(told.delay_ms / 1000, name="nap")
        await linger(context, told)
        return conclude(context, name, payload, told)


@app.task(retry=AGAIN, max_crashes=MOST_CRASHES)
def work_in_thread(context: Context, name: str, payload: Any) -> Args:
    with attempt(context, name, payload) as told:
        if told.act == "snooze" and context.step_sync("nap", own_lease_sync, context.lease_id) == context.lease_id:
            raise Snooze(told.delay_ms / 1000)
        if told.act == "sleep":
            context.sleep_sync(told.delay_ms / 1000, name="nap")
        linger_sync(context, told)
        return conclude(context, name, payload, told)


@app.task(executor="process", retry=AGAIN, max_crashes=MOST_CRASHES)
def work_in_process(context: Context, name: str, payload: Any) -> Args:
    with attempt(context, name, payload) as told:
        linger_sync(context, told)
        if told.act == "spawn":
            late = f"import time; time.sleep({told.delay_ms / 1000})"
            subprocess.Popen([sys.executable, "-I", "-S", "-c", late])  # nobody waits for it
        return conclude(context, name, payload, told)


@app.task(retry=AGAIN, max_crashes=MOST_CRASHES)
async def complete_in(context: Context, name: str, payload: Any) -> None:
    """Its effect and its end are one transaction, whose commit comes after what is written down."""
    with attempt(context, name, payload) as told:
        await linger(context, told)
        dsn = app.settings.require_dsn()
        connection = await psycopg.AsyncConnection[Any].connect(dsn, **parameters(dsn, "torture", 10_000))
        async with connection, connection.transaction():
            await connection.execute(EFFECT, (name, context.job_id, context.lease_id))
            result = result_of(name, payload, context.attempt)
            await context.complete_in(connection, result)
            note(context, name, "end", outcome="return", result=digest(result))


@app.task(retry=AGAIN, max_crashes=MOST_CRASHES)
async def over_http(context: Context, name: str, payload: Any) -> Args:
    """Declared here, for what its jobs get; worked on over HTTP, since no worker of this app serves its queue."""
    with attempt(context, name, payload) as told:
        await linger(context, told)
        return conclude(context, name, payload, told)


@app.task(retry=Retry(2, backoff="fixed", base=0.2))
async def strict(context: Context, name: str, payload: int) -> int:
    """The payload that its jobs have is no integer: it never runs."""
    with attempt(context, name, payload):
        return payload


@app.task(retry=AGAIN)
async def poison(context: Context, name: str, payload: Any) -> None:
    """Takes its worker down with it, if the runner has asked for that: as often as a job may by default."""
    with attempt(context, name, payload) as told:
        perish(told)


@app.task(executor="process", retry=AGAIN)
def poison_in_process(context: Context, name: str, payload: Any) -> None:
    with attempt(context, name, payload) as told:
        perish(told)


@app.schedule("* * * * * *", name=SCHEDULE, args={"name": "cron", "payload": None}, catchup="all", catchup_limit=1000)
@app.task(retry=AGAIN, max_crashes=MOST_CRASHES)
async def tick(context: Context, name: str, payload: Any) -> Args:
    """Which tick it is of, says dtsched.ticks by the job's id."""
    with attempt(context, name, payload) as told:
        return conclude(context, name, payload, told)


@contextmanager
def attempt(context: Context, name: str, payload: object) -> Generator[Behaviour]:
    """Writes that it starts and, when something is raised, how it ends."""
    told = behaviour(seed_of_run(), name, context.attempt)
    note(context, name, "start", digest=digest({"name": name, "payload": payload}), act=told.act)
    try:
        yield told
    except BaseException as error:
        outcome, reason = _OUTCOMES.get(type(error), "raise"), type(error).__name__
        note(context, name, "end", outcome=outcome, error=reason)
        raise


async def linger(context: Context, told: Behaviour) -> None:
    """Works for as long as it was told to, in pieces: a cancellation arrives between two of them."""
    try:
        for done in range(told.progress):
            await asyncio.sleep(told.ms / 1000 / told.progress)
            context.progress((done + 1) / told.progress, f"{done + 1} of {told.progress}")
        if not told.progress and told.ms:
            await asyncio.sleep(told.ms / 1000)
        if told.act == "overrun":
            await asyncio.sleep(_OVERRUN_SECONDS)
    except asyncio.CancelledError:
        if not told.stubborn:
            raise
        await asyncio.sleep(_STUBBORN_SECONDS)  # as if it had not been told


def linger_sync(context: Context, told: Behaviour) -> None:
    seconds = told.ms / 1000 + (_OVERRUN_SECONDS if told.act == "overrun" else 0)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(_BEAT_SECONDS, left))
        if context.cancelled and not told.stubborn:
            raise asyncio.CancelledError
        if told.progress:
            context.progress(min(1.0, 1 - left / seconds))


def conclude(context: Context, name: str, payload: object, told: Behaviour) -> Args:
    """The act: what is raised, or the result, which is written down before it is returned."""
    if told.act == "raise":
        raise RuntimeError(f"told to raise in attempt {context.attempt}")
    if told.act == "retry":
        raise Retry(after=told.delay_ms / 1000)
    if told.act == "fail":
        raise Fail(f"told to fail in attempt {context.attempt}")
    if told.act == "fork":
        fork()
    note(context, name, "effect")
    result = result_of(name, payload, context.attempt)
    note(context, name, "end", outcome="return", result=digest(result))
    return result


def result_of(name: str, payload: object, attempt: int) -> Args:
    """What a job that returns has for its result: small, but for kinds that carry their payload back."""
    carried = payload if kind_of(name) in ("hostile", "long") else None
    return {"name": name, "attempt": attempt, "payload": carried}


async def own_lease(lease: int) -> int:
    return lease


def own_lease_sync(lease: int) -> int:
    return lease


def fork() -> None:
    """A copy of this process, with all its sockets, that ends at once and in disorder."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def perish(told: Behaviour) -> NoReturn:
    """If the runner has asked for that."""
    if poison_is_wanted() and told.death is not None:
        die(told.death)
    raise RuntimeError(f"told to die by {told.death}")

"""A process that submits, cancels and retries at a steady rate, whatever happens to the database, and writes down what
it was told and what it was not.

    python -P -m dtsched.torture.submitter --rate 40 --name a

An open loop: what is due is sent whether or not what went before has been answered, as long as there are senders. What
an outage has kept from being sent is not made up for. SIGTERM ends it when what is under way has been answered, or
after a while.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, LiteralString

import click

from dtsched.connections import connect
from dtsched.outage import Outage
from dtsched.settings import load
from dtsched.torture.app import app
from dtsched.torture.doors import Doors
from dtsched.torture.fates import Fate, NotWritten, Unknown, Written, is_expected
from dtsched.torture.history import Op, Recorder, recording
from dtsched.torture.outbox import LAY
from dtsched.torture.surroundings import (
    folder_of_run,
    history_of_run,
    poison_is_wanted,
    seed_of_run,
    urls_of_run,
)
from dtsched.torture.workload import LIMIT, LIMIT_KEYS, MIX, POISON, Submission, submissions

RATE = 60.0
"""A job costs about 10 ms of processor time, of all processes together: with what idle ones take, half of two cores."""

SENDERS = 24
MOST_WAITING = 400
"""Cancellations, retries by hand and repetitions that are still to come; more are left out."""

BEHIND_SECONDS = 0.5
GRACE_SECONDS = 15.0
AGAIN_SECONDS = 60.0
DECLARED_SECONDS = 0.1

_UNDECLARED: LiteralString = """
    select name from unnest(%s::text[]) name where name not in (select known.name from dtsched.tasks known)
"""

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    envvar="DTSCHED_TORTURE_RATE",
    default=RATE,
    show_default=True,
    help="Jobs a second.",
)
@click.option(
    "--name",
    envvar="DTSCHED_TORTURE_NAME",
    default="a",
    show_default=True,
    help="Of this submitter among several; the names of its jobs are made of it.",
)
@click.option("--kinds", help="Only these, as plain,unique.")
def main(rate: float, name: str, kinds: str | None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    mix = {kind: MIX[kind] for kind in kinds.split(",")} if kinds else dict(MIX)
    if poison_is_wanted() and kinds is None:
        mix["poison"] = POISON
    drawn = submissions(seed_of_run(), new_life(folder_of_run(), name), mix)
    dsn = load().require_dsn()
    with recording(history_of_run(), "submitter") as recorder:
        asyncio.run(run(Submitter(recorder, Doors(dsn, urls_of_run())), dsn, drawn, rate))


async def run(submitter: "Submitter", dsn: str, drawn: Iterator[Submission], rate: float) -> None:
    """Until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    pace = Pace(rate)

    async def send() -> None:
        while not stopping.is_set():
            submission = next(drawn)
            await pace.turn(len(submission.items), stopping)
            if not stopping.is_set():
                await submitter.submit(submission)

    await submitter.open()
    try:
        if await prepared(dsn, submitter.doors, stopping):
            senders = [asyncio.create_task(send()) for _ in range(SENDERS)]
            await stopping.wait()
            await ended(senders, GRACE_SECONDS)
    finally:
        await submitter.close()


async def prepared(dsn: str, doors: Doors, stopping: asyncio.Event) -> bool:
    """Lays what the workload needs, as soon as there is a database, and waits for a worker that has declared its tasks;
    False when it is stopped before."""
    outage = Outage(log, "preparing", longest_seconds=1.0)
    while not stopping.is_set():
        try:
            connection = await connect(dsn, role="torture submitter", timeout_ms=10_000)
            async with connection:
                await connection.execute(LAY)
                cursor = await connection.execute(_UNDECLARED, [list(app.registry)])
                undeclared = await cursor.fetchall()
            if undeclared:  # it would be told that nobody knows them
                await asyncio.sleep(DECLARED_SECONDS)
                continue
            for key in LIMIT_KEYS:
                await doors.client.set_limit(key, LIMIT)
        except Exception as error:
            if not is_expected(error):
                raise
            await asyncio.sleep(outage.failed(error))
        else:
            outage.over()
            return True
    return False


def new_life(folder: Path, name: str) -> str:
    """The name of a submitter in this one of its lives: it is started again after it was killed, and must not use the
    names of its jobs twice."""
    lives = folder / "lives"
    lives.mkdir(exist_ok=True)
    number = 0
    while True:
        try:
            os.close(os.open(lives / f"{name}.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            number += 1
        else:
            return f"{name}.{number}"


class Pace:
    """So many a second; who is late begins anew."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next = time.monotonic()

    async def turn(self, count: int, stopping: asyncio.Event) -> None:
        """Returns when these are due, or when all is to stop."""
        now = time.monotonic()
        due = max(self._next, now - BEHIND_SECONDS)
        self._next = due + count / self._rate
        if due > now:
            try:
                async with asyncio.timeout(due - now):
                    await stopping.wait()
            except TimeoutError:
                pass


class Submitter:
    def __init__(self, recorder: Recorder, doors: Doors) -> None:
        self.doors = doors
        self._record = recorder
        self._waiting: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self.doors.open()

    async def close(self) -> None:
        await ended(list(self._waiting), GRACE_SECONDS)
        await self.doors.close()

    async def submit(self, submission: Submission) -> None:
        """Once; what is to come of it later, comes later."""
        fates = await self._try(submission, again=False)
        if any(isinstance(fate, Unknown) for fate in fates) and submission.repeatable:
            self._later(self._repeat(submission))
        first = fates[0]
        if submission.then is not None and isinstance(first, Written) and first.created is not False:
            self._later(self._follow(submission, first.job))

    async def _repeat(self, submission: Submission) -> None:
        """Until it is known, or for a while. Each time is a submission of its own in the history."""
        pause = 0.2
        until = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            fates = await self._try(submission, again=True)
            if all(isinstance(fate, Written) for fate in fates):
                return
            pause = min(5.0, pause * 2)

    async def _try(self, submission: Submission, *, again: bool) -> list[Fate]:
        more = {"again": True} if again else {}
        for item in submission.items:
            self._record("submit", "invoke", key=item.key, digest=item.digest, **submission.note(item), **more)
        fates: list[Fate] = [Unknown("given up when the run ended")] * len(submission.items)
        try:
            fates = await self.doors.submit(submission)
        finally:  # also when it is cancelled
            for item, fate in zip(submission.items, fates, strict=True):
                self._note("submit", item.key, fate, **more)
        return fates

    async def _follow(self, submission: Submission, job: int) -> None:
        """Cancels the job, or retries it by hand."""
        await asyncio.sleep(submission.after_seconds)
        op, client = submission.then or "cancel", self.doors.client
        self._record(op, "invoke", key=submission.key, job=job)
        fate: Fate = Unknown("given up when the run ended")
        try:
            answer = await self.doors.ask(client.cancel([job]) if op == "cancel" else client.retry([job]))
            fate = answer if isinstance(answer, (NotWritten, Unknown)) else Written(job, outcome=answer[job])
        finally:
            self._note(op, submission.key, fate, job=job)

    def _note(self, op: Op, key: str, fate: Fate, *, job: int | None = None, **more: Any) -> None:
        match fate:
            case Written():
                known = {"created": fate.created, "outcome": fate.outcome}
                said = {name: value for name, value in known.items() if value is not None}
                self._record(op, "ok", key=key, job=fate.job, **said, **more)
            case NotWritten():
                self._record(op, "fail", key=key, job=job, error=fate.reason, **more)
            case Unknown():
                self._record(op, "info", key=key, job=job, error=fate.reason, **more)

    def _later(self, doing: Coroutine[Any, Any, None]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            doing.close()
            return
        task = asyncio.create_task(doing)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)


async def ended(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Gives them so long, then cancels them; what one of them raised is raised."""
    if not tasks:
        return
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


if __name__ == "__main__":
    sys.exit(main())

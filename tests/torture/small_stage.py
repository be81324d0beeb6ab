"""A stage of a few workers for faults that strike once each, and what is asked of it after each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event, Thread

import psycopg

from dtsched.torture.faults.base import Fault, Wire
from dtsched.torture.faults.jobs import orders, submit, until_ended
from dtsched.torture.history import Record, read
from dtsched.torture.stage import Cast, LocalStage, open_stage
from tests.support.servers import other_programs

CAST = Cast(
    workers=2,
    app="dtsched.torture.sabotage:app",
    queues=["default:4", "quiet:1"],
    lease_seconds=1.0,
    poll_seconds=0.2,
    grace_seconds=0.5,
)


def records(stage: LocalStage, op: str) -> list[Record]:
    return [record for record in read(stage.folder / "history") if record.op == op]


def noted(stage: LocalStage, number: str, what: str = "fault") -> Record:
    """The last record in which the fault says that."""
    return [one for one in records(stage, "fault") if one.note["fault"] == number and what in one.note][-1]


def busy(stage: LocalStage, *, jobs: int = 12, seconds: float = 0.4) -> list[int]:
    return submit(stage, orders(Random(), jobs, "take_time", {"seconds": seconds}))


async def struck(stage: LocalStage, fault: Fault, *, lasts: float = 0.5, seconds: float = 40.0) -> list[int]:
    """Once: its exposures, when it is healed and all that was submitted has come right."""
    assert fault.missing(stage) is None
    exposed = await fault.inject(stage)
    try:
        await asyncio.sleep(lasts)
    finally:
        await fault.heal(stage)
        await fault.heal(stage)  # healed already
    exposed = [*exposed, *fault.late]
    assert len(exposed) == len(set(exposed)) >= 1
    busy(stage, jobs=4, seconds=0.0)
    await all_come_right(stage, seconds=seconds)
    return exposed


async def all_come_right(stage: LocalStage, *, seconds: float) -> None:
    forgotten = [one.note["forgets"] for one in records(stage, "fault") if "forgets" in one.note]
    submissions = [
        one
        for one in records(stage, "submit")
        if one.phase == "ok" and not any(since <= one.ns <= until for since, until in forgotten)
    ]
    jobs = {one.job: one.note["expect"] for one in submissions if one.job is not None}
    assert await until_ended(stage, [*jobs], seconds=seconds)
    with stage.connect() as connection:
        rows = connection.execute(
            "select id, state, args ->> 'name' from dtsched.jobs where id = any (%s)", ([*jobs],)
        ).fetchall()
        assert {job: state for job, state, _ in rows if state not in jobs[job]} == {}
        assert {name for _, _, name in rows} == {one.key for one in submissions if one.note["created"]}
        assert connection.execute("select * from dtsched.check()").fetchall() == []
        twice = connection.execute(
            """select event.job_id from dtsched.job_events event
            group by event.job_id
            having count(*) filter (where event.to_state in ('completed', 'failed', 'cancelled'))
                > 1 + count(*) filter (where event.from_state in ('completed', 'failed', 'cancelled'))"""
        )
        assert twice.fetchall() == []


def attempts_of(stage: LocalStage, jobs: Sequence[int], outcome: str) -> list[int]:
    with stage.connect() as connection:
        rows = connection.execute(
            "select job_id from dtsched.attempts where job_id = any (%s) and outcome = %s", ([*jobs], outcome)
        )
        return [job for (job,) in rows.fetchall()]


@asynccontextmanager
async def open_small_stage(
    folder: Path,
    cast: Cast = CAST,
    *,
    open_wire: Callable[[str], AbstractAsyncContextManager[Wire]] | None = None,
    connections: int = 70,
    surprised: bool = False,
) -> AsyncGenerator[LocalStage]:
    """When it is over, no member has ended by itself, none has left anything behind, and none was surprised, unless
    that is what the faults are for."""
    settings = {"max_connections": str(connections)}
    async with open_stage(folder, cast, settings=settings, bin_dir=other_programs(), open_wire=open_wire) as stage:
        yield stage
    assert stage.left_behind() == []
    assert [end for end in records(stage, "exit") if not end.note["expected"]] == []
    if not surprised:
        for log in (stage.folder / "logs").glob("worker-*.log"):
            assert "Traceback" not in log.read_text()


@contextmanager
def submitting(stage: LocalStage) -> Generator[None]:
    """Somebody goes on submitting meanwhile, a job a time, whatever becomes of it."""
    over = Event()

    def submit_more() -> None:
        while not over.wait(0.05):
            with suppress(psycopg.Error, OSError, ValueError):
                submit(stage, orders(Random(), 1, "take_time", {"seconds": 0.2}))

    thread = Thread(target=submit_more)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

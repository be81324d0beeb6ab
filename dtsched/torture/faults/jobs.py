"""Jobs that a fault submits for itself, written down like everybody's, and how it meets their handlers."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.types.json import Jsonb

from dtsched.torture.digests import canonical, digest
from dtsched.torture.faults.base import Member, Stage

KIND = "sabotage"
MOST_ATTEMPTS = 50
FIRST = 10
"""The highest priority: a fault that waits for its jobs is not to wait for those of others."""

GO_SECONDS = 0.1
"""From the word to the deed: so long may handlers take to read it."""

_LOOK_SECONDS = 0.01


class Order(Struct, frozen=True, kw_only=True):
    """A job to be submitted: `fields` are those of dtsched.submit_many()."""

    key: str
    task: str
    payload: Mapping[str, Any]
    expect: Sequence[str] = ("completed",)
    fields: Mapping[str, Any] = {}
    note: Mapping[str, Any] = {}

    @property
    def args(self) -> dict[str, Any]:
        return {"name": self.key, "payload": dict(self.payload)}


def orders(
    random: Random,
    count: int,
    task: str,
    payload: Mapping[str, Any] | None = None,
    *,
    expect: Sequence[str] = ("completed",),
    note: Mapping[str, Any] | None = None,
    **fields: Any,
) -> list[Order]:
    """So many of a kind, under names that nobody else has."""
    batch = f"{KIND}-{task}-{random.getrandbits(48):012x}"
    return [
        Order(
            key=f"{batch}-{number}",
            task=task,
            payload=payload or {},
            expect=expect,
            fields={"priority": FIRST, **fields},
            note=note or {},
        )
        for number in range(count)
    ]


def submit(stage: Stage, wanted: Sequence[Order]) -> list[int]:
    """All or none, in one transaction; their ids, in order."""
    with stage.connect(application="torture fault") as connection:
        return submit_on(stage, connection, wanted)


async def submit_aside(stage: Stage, wanted: Sequence[Order]) -> list[int]:
    """In a thread: whoever holds what it waits for may be another fault, which goes on in this one."""
    return await asyncio.to_thread(submit, stage, wanted)


def submit_on(stage: Stage, connection: psycopg.Connection, wanted: Sequence[Order]) -> list[int]:
    """Within the transaction that the connection may be in: then it must be committed."""
    jobs = [{"task": one.task, "args": one.args, "max_attempts": MOST_ATTEMPTS, **one.fields} for one in wanted]
    return _written(
        stage,
        wanted,
        lambda: connection.execute(
            "select made.id, made.created from dtsched.submit_many(%s) "
            "with ordinality as made (id, created, error, outcome, code, field, place) order by made.place",
            (Jsonb(jobs),),
        ).fetchall(),
    )


def insert(stage: Stage, connection: psycopg.Connection, wanted: Sequence[Order]) -> list[int]:
    """As those do who know nothing but SQL; of the fields the queue, the priority and the time count."""
    jobs = [{"task": one.task, "args": one.args, **one.fields} for one in wanted]
    return _written(
        stage,
        wanted,
        lambda: connection.execute(
            """insert into dtsched.jobs (task, args, queue, priority, run_at, max_attempts)
            select given ->> 'task', given -> 'args', coalesce(given ->> 'queue', 'default'),
                coalesce((given ->> 'priority')::int, 5), (given ->> 'run_at')::timestamptz, %s
            from jsonb_array_elements(%s) with ordinality as batch (given, place) order by place
            returning id, true""",
            (MOST_ATTEMPTS, Jsonb(jobs)),
        ).fetchall(),
    )


def _written(stage: Stage, wanted: Sequence[Order], write: Callable[[], list[tuple[int, bool]]]) -> list[int]:
    for order in wanted:
        _note(stage, "invoke", order)
    try:
        rows = write()
    except psycopg.errors.OperationalError as error:
        for order in wanted:
            _note(stage, "info", order, error=type(error).__name__)
        raise
    except psycopg.Error as error:
        for order in wanted:
            _note(stage, "fail", order, error=type(error).__name__)
        raise
    for order, (job, created) in zip(wanted, rows, strict=True):
        _note(stage, "ok", order, job=job, created=created)
    return [job for job, _ in rows]


def _note(stage: Stage, phase: Any, order: Order, *, job: int | None = None, **more: object) -> None:
    said: dict[str, Any] = {
        "kind": KIND,
        "task": order.task,
        "door": "sql",
        "way": "function",
        "queue": order.fields.get("queue", "default"),
        "priority": order.fields.get("priority", 5),
        "max_attempts": order.fields.get("max_attempts", MOST_ATTEMPTS),
        "args_bytes": len(canonical(order.args)),
        "expect": list(order.expect),
        **{name: order.fields[name] for name in ("limit_key", "delay", "run_at", "timeout") if name in order.fields},
        **order.note,
        **more,
    }
    stage.record("submit", phase, key=order.key, job=job, digest=digest(order.args), **said)


async def arrivals(
    stage: Stage, jobs: Sequence[int], *, attempt: int = 1, seconds: float = 15.0, enough: int | None = None
) -> dict[int, int]:
    """The processes in which handlers of these jobs are, by job: as soon as `enough` are there (default: all), or when
    the time is over."""
    deadline = monotonic() + seconds
    places = {job: sabotage(stage) / f"{job}.{attempt}.here" for job in jobs}
    found: dict[int, int] = {}
    while True:
        for job, place in places.items():
            if job not in found:
                with suppress(FileNotFoundError):
                    found[job] = int(place.read_text())
        if len(found) >= (len(jobs) if enough is None else enough) or monotonic() > deadline:
            return found
        await asyncio.sleep(_LOOK_SECONDS)


def go(stage: Stage, jobs: Collection[int], *, attempt: int = 1) -> float:
    """Tells all their handlers to go on at the same moment, which is returned."""
    moment = monotonic() + GO_SECONDS
    for job in jobs:
        (sabotage(stage) / f"{job}.{attempt}.go").write_text(repr(moment))
    return moment


def let_be(stage: Stage, jobs: Collection[int], *, attempt: int = 1) -> None:
    """Their handlers, whenever they come, are to do no harm."""
    for job in jobs:
        (sabotage(stage) / f"{job}.{attempt}.go").write_text("0")


def sabotage(stage: Stage) -> Path:
    return stage.folder / "sabotage"


def worker_with(stage: Stage, pid: int) -> Member | None:
    return next((worker for worker in stage.members("worker") if worker.pid == pid), None)


async def until_dead(stage: Stage, pid: int, *, seconds: float = 15.0) -> bool:
    """Whether the member ended in that time."""
    deadline = monotonic() + seconds
    while worker_with(stage, pid) is not None:
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


def unfinished(stage: Stage, jobs: Sequence[int]) -> list[int]:
    """Those of them that have not ended."""
    with stage.connect(application="torture look") as connection:
        rows = connection.execute(
            """select id from dtsched.jobs
            where id = any (%s) and state not in ('completed', 'failed', 'cancelled') order by id""",
            (list(jobs),),
        )
        return [job for (job,) in rows.fetchall()]


async def until_ended(stage: Stage, jobs: Sequence[int], *, seconds: float) -> bool:
    """Whether they all did; the database may be away for a while."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        with suppress(psycopg.OperationalError, OSError, ValueError):
            if not unfinished(stage, jobs):
                return True
        await asyncio.sleep(0.1)
    return False

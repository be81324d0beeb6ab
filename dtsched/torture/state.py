"""The tables of a run at its end, a row a line, so that whoever judges it needs no database.

    jobs · leases · job_events · lease_events · worker_events · workers · keys · dependencies · attempts · limits
    queues · tasks · schedules · ticks · parked · outbox · effects · clocks · server
    problems: what dtsched.check() has found

Times are seconds since 1970, of the database's clock. `clocks` are pairs of CLOCK_MONOTONIC and that clock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from time import monotonic_ns
from typing import LiteralString, TypeVar

import msgspec
import psycopg
from msgspec import Struct

from dtsched.errors import InvalidInput
from dtsched.torture.clocks import Pair

Row = TypeVar("Row", bound=Struct)


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """`name` is what its submitter called it, in its args. A result of any size."""

    id: int
    name: str | None
    task: str
    queue: str
    state: str
    priority: int
    run_at: float | None
    attempt: int
    max_attempts: int
    key: str | None
    limit_key: str | None
    depends_on: list[int] | None
    policies: list[str] | None
    skipped: bool | None
    error: str | None
    created_at: float
    crash_count: int
    deadline: float | None
    result: msgspec.Raw


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """Of job_events. `run_at` and `attempt` as the change left them; `who` is the function that was called."""

    id: int
    job_id: int
    from_state: str | None
    to_state: str | None
    attempt: int
    run_at: float | None
    who: str | None
    at: float
    xid: int


class LeaseEvent(Struct, frozen=True, kw_only=True, gc=False):
    id: int
    kind: str
    lease_id: int
    job_id: int
    worker_id: str
    limit_key: str | None
    queue: str | None
    deadline: float | None
    cancel_requested: bool
    gave_up_key: bool
    worker_expires_at: float | None
    worker_lost_at: float | None
    who: str | None
    at: float
    xid: int


class WorkerEvent(Struct, frozen=True, kw_only=True, gc=False):
    id: int
    kind: str
    worker_id: str
    slots: int
    lease: float
    expires_at: float
    lost_at: float | None
    who: str | None
    at: float


class Lease(Struct, frozen=True, kw_only=True):
    id: int
    job_id: int
    worker_id: str


class Worker(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    slots: int
    lease: float
    started_at: float
    expires_at: float
    lost_at: float | None


class Key(Struct, frozen=True, kw_only=True):
    key: str
    job_id: int


class Dependency(Struct, frozen=True, kw_only=True):
    parent_id: int
    child_id: int
    on_failure: str


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    job_id: int
    attempt: int
    lease_id: int
    outcome: str
    error_type: str | None


class Limit(Struct, frozen=True, kw_only=True):
    limit_key: str
    concurrency: int | None


class Queue(Struct, frozen=True, kw_only=True):
    """`limit` is of the queue as a whole, `key_limit` what its limit keys have that say nothing."""

    name: str
    paused: bool
    limit: int | None
    key_limit: int | None


class Task(Struct, frozen=True, kw_only=True):
    name: str
    max_crashes: int | None


class Schedule(Struct, frozen=True, kw_only=True):
    name: str
    spec: str
    tz: str
    catchup: str
    catchup_limit: int
    overlap: str
    paused: bool
    problem: str | None
    since: float
    next_at: float | None


class Tick(Struct, frozen=True, kw_only=True):
    schedule: str
    tick: float
    outcome: str
    job_id: int | None
    at: float


class Parked(Struct, frozen=True, kw_only=True):
    job_id: int
    reason: str


class Twin(Struct, frozen=True, kw_only=True):
    """A row of a user's own table, written in the transaction that submitted its job."""

    key: str
    job_id: int | None


class Effect(Struct, frozen=True, kw_only=True):
    """One that was written in the transaction that completed its job."""

    key: str
    job_id: int
    lease_id: int


class Problem(Struct, frozen=True, kw_only=True):
    invariant: str
    job_id: int | None
    detail: str


class Server(Struct, frozen=True, kw_only=True):
    version: str


_TABLES: dict[str, tuple[type[Struct], LiteralString]] = {
    "jobs": (
        Job,
        """select job.id, job.args ->> 'name' as name, job.task, job.queue, job.state, job.priority,
               date_part('epoch', job.run_at) as run_at, job.attempt, job.max_attempts, job.key, job.limit_key,
               job.depends_on, case when job.depends_on is not null then (
                   select array_agg(coalesce(job.parent_policies[n], job.on_parent_failure, 'cancel') order by n)
                   from generate_subscripts(job.depends_on, 1) n) end as policies,
               job.skipped, left(job.error, 300) as error,
               date_part('epoch', job.created_at) as created_at, job.crash_count,
               date_part('epoch', job.deadline) as deadline, coalesce(job.result, large.result) as result
           from dtsched.jobs job
           left join dtsched.results large on large.job_id = job.id""",
    ),
    "job_events": (
        Event,
        """select event.id, event.job_id, event.from_state, event.to_state, event.attempt,
               date_part('epoch', event.run_at) as run_at, event.who, date_part('epoch', event.at) as at,
               event.xid::text::bigint as xid
           from dtsched.job_events event
           order by event.id""",
    ),
    "lease_events": (
        LeaseEvent,
        """select event.id, event.kind, event.lease_id, event.job_id, event.worker_id, event.limit_key, event.queue,
               date_part('epoch', event.deadline) as deadline, event.cancel_requested, event.gave_up_key,
               date_part('epoch', event.worker_expires_at) as worker_expires_at,
               date_part('epoch', event.worker_lost_at) as worker_lost_at, event.who,
               date_part('epoch', event.at) as at, event.xid::text::bigint as xid
           from dtsched.lease_events event
           order by event.id""",
    ),
    "worker_events": (
        WorkerEvent,
        """select event.id, event.kind, event.worker_id, event.slots, date_part('epoch', event.lease) as lease,
               date_part('epoch', event.expires_at) as expires_at, date_part('epoch', event.lost_at) as lost_at,
               event.who, date_part('epoch', event.at) as at
           from dtsched.worker_events event
           order by event.id""",
    ),
    "leases": (Lease, "select lease.id, lease.job_id, lease.worker_id from dtsched.leases lease"),
    "workers": (
        Worker,
        """select worker.id, worker.name, worker.slots, date_part('epoch', worker.lease) as lease,
               date_part('epoch', worker.started_at) as started_at, date_part('epoch', worker.expires_at) as expires_at,
               date_part('epoch', worker.lost_at) as lost_at
           from dtsched.workers worker""",
    ),
    "keys": (Key, "select taken.key, taken.job_id from dtsched.keys taken"),
    "dependencies": (
        Dependency,
        "select edge.parent_id, edge.child_id, edge.on_failure from dtsched.dependencies edge",
    ),
    "attempts": (
        Attempt,
        """select spent.job_id, spent.attempt, spent.lease_id, spent.outcome, spent.error_type
           from dtsched.attempts spent""",
    ),
    "limits": (Limit, "select limited.limit_key, limited.concurrency from dtsched.limits limited"),
    "queues": (
        Queue,
        """select queue.name, queue.paused_at is not null as paused, (queue.settings ->> 'limit')::int as limit,
               (queue.settings ->> 'key_limit')::int as key_limit
           from dtsched.queues queue""",
    ),
    "tasks": (
        Task,
        "select task.name, (task.settings ->> 'max_crashes')::int as max_crashes from dtsched.tasks task",
    ),
    "schedules": (
        Schedule,
        """select schedule.name, schedule.spec, schedule.tz, schedule.catchup, schedule.catchup_limit, schedule.overlap,
               schedule.paused_at is not null as paused, schedule.problem, date_part('epoch', schedule.since) as since,
               date_part('epoch', nullif(schedule.next_at, 'infinity')) as next_at
           from dtsched.schedules schedule""",
    ),
    "ticks": (
        Tick,
        """select tick.schedule, date_part('epoch', tick.tick) as tick, tick.outcome, tick.job_id,
               date_part('epoch', tick.at) as at
           from dtsched.ticks tick""",
    ),
    "parked": (Parked, "select entry.job_id, entry.reason from dtsched.parked entry"),
}
_TWINS: dict[str, tuple[type[Struct], LiteralString, LiteralString]] = {
    "outbox": (Twin, "torture.outbox", "select twin.key, twin.job_id from torture.outbox twin"),
    "effects": (Effect, "torture.effects", "select done.key, done.job_id, done.lease_id from torture.effects done"),
}


def dump(dsn: str, folder: Path, clocks: Iterable[Pair] = ()) -> None:
    """Writes FOLDER/state/*.ndjson from one snapshot. As the owner of the schema, when nothing runs any more. Rows go
    straight from the server's COPY into the files, so their number does not matter; `clocks` are what the runner has
    read on its way, and some more are read here."""
    state = folder / "state"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with psycopg.connect(dsn, application_name="torture dump", autocommit=True) as connection:
        pairs = [*clocks, *(read_clock(connection) for _ in range(5))]
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute("set local search_path = pg_catalog")
            for name, (_, query) in _TABLES.items():
                _copy(connection, query, state / f"{name}.ndjson")
            for name, (_, table, query) in _TWINS.items():
                if connection.execute("select to_regclass(%s)", [table]).fetchone() != (None,):
                    _copy(connection, query, state / f"{name}.ndjson")
        _copy(connection, "select * from dtsched.check()", state / "problems.ndjson")
        _copy(connection, "select current_setting('server_version') as version", state / "server.ndjson")
    unfinished = state / "clocks.unfinished"
    unfinished.write_bytes(b"".join(msgspec.json.encode(pair) + b"\n" for pair in pairs))
    unfinished.rename(state / "clocks.ndjson")  # the last: where it is, all is there


def read_clock(connection: psycopg.Connection) -> Pair:
    before = monotonic_ns()
    row = connection.execute("select clock_timestamp()").fetchone()
    after = monotonic_ns()
    assert row is not None
    clock: datetime = row[0]
    return Pair(ns=(before + after) // 2, at=clock.timestamp(), error_seconds=(after - before) / 2e9)


def _copy(connection: psycopg.Connection, query: LiteralString, path: Path) -> None:
    """JSON text has no control characters, so COPY with these two as its marks writes it as it is."""
    copy: LiteralString = "copy (select to_json(line) from ("
    end: LiteralString = ") line) to stdout (format csv, quote e'\\x01', delimiter e'\\x02')"
    with connection.cursor() as cursor, cursor.copy(copy + query + end) as rows, path.open("wb") as file:
        for row in rows:
            file.write(row)


class State:
    """What dump() wrote, read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "state"

    @cached_property
    def jobs(self) -> Sequence[Job]:
        return self._read("jobs", Job)

    @cached_property
    def job_events(self) -> Sequence[Event]:
        """In the order in which they happened, as the two below: their ids are of one counter."""
        return self._read("job_events", Event)

    @cached_property
    def lease_events(self) -> Sequence[LeaseEvent]:
        return self._read("lease_events", LeaseEvent)

    @cached_property
    def worker_events(self) -> Sequence[WorkerEvent]:
        return self._read("worker_events", WorkerEvent)

    @cached_property
    def leases(self) -> Sequence[Lease]:
        return self._read("leases", Lease)

    @cached_property
    def workers(self) -> Sequence[Worker]:
        return self._read("workers", Worker)

    @cached_property
    def keys(self) -> Sequence[Key]:
        return self._read("keys", Key)

    @cached_property
    def dependencies(self) -> Sequence[Dependency]:
        return self._read("dependencies", Dependency)

    @cached_property
    def attempts(self) -> Sequence[Attempt]:
        return self._read("attempts", Attempt)

    @cached_property
    def limits(self) -> Sequence[Limit]:
        return self._read("limits", Limit)

    @cached_property
    def queues(self) -> Sequence[Queue]:
        return self._read("queues", Queue)

    @cached_property
    def tasks(self) -> Sequence[Task]:
        return self._read("tasks", Task)

    @cached_property
    def schedules(self) -> Sequence[Schedule]:
        return self._read("schedules", Schedule)

    @cached_property
    def ticks(self) -> Sequence[Tick]:
        return self._read("ticks", Tick)

    @cached_property
    def parked(self) -> Sequence[Parked]:
        return self._read("parked", Parked)

    @cached_property
    def outbox(self) -> Sequence[Twin]:
        return self._read("outbox", Twin)

    @cached_property
    def effects(self) -> Sequence[Effect]:
        return self._read("effects", Effect)

    @cached_property
    def problems(self) -> Sequence[Problem]:
        return self._read("problems", Problem)

    @cached_property
    def pairs(self) -> Sequence[Pair]:
        return self._read("clocks", Pair)

    @cached_property
    def server(self) -> Server | None:
        return next(iter(self._read("server", Server)), None)

    def _read(self, name: str, kind: type[Row]) -> list[Row]:
        """A table that the run did not have is an empty one."""
        path = self._folder / f"{name}.ndjson"
        if not path.exists():
            return []
        decode = msgspec.json.Decoder(kind).decode
        with path.open("rb") as lines:
            try:
                return [decode(line) for line in lines]
            except msgspec.DecodeError as error:
                raise InvalidInput(f"{path} cannot be read: {error}", field="dir") from error


def missing_tables(folder: Path) -> list[str]:
    """What dump() has not written to its end; a user's own tables need not be there."""
    names = [*_TABLES, "problems", "server", "clocks"]
    return [name for name in names if not (folder / "state" / f"{name}.ndjson").exists()]


def load(folder: Path) -> State:
    return State(folder)

"""What can be seen of jobs, queues and workers besides a job itself: the structs that lists and figures come in."""

from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from dtsched.jobs import Job

WorkerState: TypeAlias = Literal["active", "draining", "lost"]
WorkflowState: TypeAlias = Literal["running", "completed", "failed", "cancelled"]


class JobPage(msgspec.Struct, frozen=True):
    """Newest first. `next` is where the page after this one begins (below that id), None after the last one; a page
    may be short, or empty, and not the last: a search looks at a bounded number of jobs at a time."""

    jobs: list[Job]
    next: int | None


class IdPage(msgspec.Struct, frozen=True):
    """As JobPage, of ids alone."""

    ids: list[int]
    next: int | None


class Reason(msgspec.Struct, frozen=True):
    """Why a job is where it is. `code` never changes its meaning, `reason` is for a person."""

    code: str
    reason: str


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that did not simply succeed. `outcome` is retry, fail, cancel or crash."""

    attempt: int
    outcome: str
    error_type: str | None
    message: str | None
    traceback: str | None
    worker_id: UUID | None
    started_at: datetime | None
    finished_at: datetime


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a job remembers: a step, a sleep or the wait for an event. `result` is None when it is longer than 10,000
    bytes; `until` is the end of a sleep or of a wait, in the year 9999 for one without."""

    name: str
    kind: Literal["step", "sleep", "event"]
    state: Literal["done", "waiting", "timeout"]
    result: Any
    result_bytes: int | None
    event: str | None
    until: datetime | None
    attempt: int
    worker_id: UUID
    begun_at: datetime
    ended_at: datetime | None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler has logged. `line` counts from 1 through all attempts of the job; `level` is debug, info, warning,
    error or critical; `logger` is None for ctx.log()."""

    line: int
    attempt: int
    at: datetime
    level: str
    logger: str | None
    message: str


class ErrorGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed jobs of one task with the same error, but for numbers, ids and what stands in quotes. `error` is what they
    have in common, `jobs` are the newest 5."""

    fingerprint: str
    error: str
    task: str
    queues: list[str]
    count: int
    first_at: datetime
    last_at: datetime
    jobs: list[int]


class ErrorGroups(msgspec.Struct, frozen=True, kw_only=True):
    """The most frequent first. `looked_at` is how many failed jobs were looked at; `complete`: they were all there are,
    else the newest by id."""

    groups: list[ErrorGroup]
    looked_at: int
    complete: bool


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed what. `actor` is the name of a key, None where there are no keys; `action` the name of the operation
    in /openapi.json; `kind` and `target` say what was changed. Never args, never secrets."""

    actor: str | None
    action: str
    kind: str
    target: str | None
    detail: dict[str, Any]
    request_id: str | None


class AuditLine(AuditEntry, frozen=True, kw_only=True):
    """As it stands in the audit."""

    id: int
    at: datetime


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in figures; see dtsched.list_queues() for how far they are counted. `ready` includes `parked`: what waits
    under a limit key, or for a worker that knows its task. `open_until` is when an open circuit breaker lets a job try.
    Rates are of this minute and the four before."""

    name: str
    paused_at: datetime | None
    open_until: datetime | None
    ready: int
    parked: int
    scheduled: int
    blocked: int
    running: int
    oldest_ready_seconds: float | None
    completed_per_second: float
    failed_per_second: float
    workers: int
    slots: int
    settings: dict[str, Any]


class FeedEvent(msgspec.Struct, frozen=True):
    """What has happened to a job, and how it stood then."""

    event: str
    id: int
    queue: str
    task: str
    state: str
    attempt: int
    at: datetime


class FeedPage(msgspec.Struct, frozen=True):
    """What has been committed up to `upto` since an earlier one. Not `told`: nobody can vouch for the time since."""

    upto: str
    told: bool
    events: list[FeedEvent]


class LimitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A limit key. `concurrency`, `rate` (jobs a second) and `burst` are what was set for it; what is None is as the
    queue of a job says. `waiting` is counted up to 10,000; `open_until` as in Queue."""

    limit_key: str
    concurrency: int | None
    rate: float | None
    burst: int | None
    running: int
    waiting: int
    open_until: datetime | None


class HeldLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a limit key among the jobs of a queue; `rate` and `burst` are None without a rate."""

    queue: str
    concurrency: int
    rate: float | None
    burst: int | None


def untouched(limit_key: str) -> LimitRecord:
    """Of a limit key for which nothing is set, and no job of which runs or waits."""
    return LimitRecord(
        limit_key=limit_key, concurrency=None, rate=None, burst=None, running=0, waiting=0, open_until=None
    )


class Retention(msgspec.Struct, frozen=True):
    """How many seconds ended jobs are kept, and the results of completed ones; None: for ever. `queue` None: of all
    queues that say nothing of their own."""

    queue: str | None
    completed: float | None
    failed: float | None
    cancelled: float | None
    results: float | None


class PastRetention(msgspec.Struct, frozen=True):
    """Jobs that prune would delete now."""

    queue: str
    state: str
    jobs: int


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the database knows it; `running` is how many jobs it holds, `seen_at` its last heartbeat."""

    id: UUID
    name: str
    state: WorkerState
    queues: list[str]
    tasks: list[str] | None
    slots: int
    running: int
    labels: dict[str, Any]
    info: dict[str, Any]
    lease_seconds: float
    started_at: datetime
    seen_at: datetime
    expires_at: datetime


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task that workers have declared: what its code says of its jobs and attempts, and the arguments it takes, as
    JSON Schema. `workers` is how many live ones run it now; `changed_at` when the declaration last changed."""

    name: str
    settings: dict[str, Any]
    args_schema: dict[str, Any] | None
    declared_at: datetime
    changed_at: datetime | None
    workers: int


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    blocked: int
    scheduled: int
    ready: int
    running: int
    completed: int
    failed: int
    cancelled: int


class WorkerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """`slots` and `running` are of those that are not lost; `utilisation` is the share of slots taken, 0 to 1."""

    active: int
    draining: int
    lost: int
    slots: int
    running: int
    utilisation: float


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds, each the upper bound of the bucket it falls into; None without jobs, or over the last bound."""

    p50: float | None
    p95: float | None
    p99: float | None


class Latency(msgspec.Struct, frozen=True):
    """From being due to being started, and from there to the end."""

    wait: Percentiles
    run: Percentiles


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in figures. `rates` are attempts a second by outcome; they and `latency` are of this minute and the
    four before."""

    jobs: JobCounts
    queues: list[Queue]
    workers: WorkerCounts
    rates: dict[str, float]
    latency: Latency


class Sample(msgspec.Struct, frozen=True):
    """One sample of /metrics."""

    name: str
    labels: dict[str, str]
    value: float


class WorkflowJobs(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a workflow are in each state; skipped ones are not among the cancelled."""

    total: int
    blocked: int
    scheduled: int
    ready: int
    running: int
    completed: int
    failed: int
    cancelled: int
    skipped: int


class WorkflowRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow, out of its jobs as they are now; see dtsched.workflow(). `progress` is the share that has ended,
    from 0 to 1."""

    id: int
    name: str
    state: WorkflowState
    progress: float
    jobs: WorkflowJobs
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancelled_at: datetime | None

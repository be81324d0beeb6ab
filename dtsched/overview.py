"""What can be seen of jobs, queues and workers besides a job itself: the structs that lists and figures come in."""

from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from dtsched.jobs import Job

WorkerState: TypeAlias = Literal["active", "draining", "lost"]


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


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in figures; see dtsched.list_queues() for how far they are counted. `ready` includes `parked`, which no
    worker may claim now. Rates are of this minute and the four before."""

    name: str
    paused_at: datetime | None
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

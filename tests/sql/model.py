"""What jobs, workers and limits are supposed to do, in plain Python: what the SQL is compared with, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

ENDED = ("completed", "failed", "cancelled")
LEASE_SECONDS = 30
CRASH_CAP = 3


@dataclass
class ModelJob:
    """`due` is in seconds of the model's clock; `waits_for` are the parents that have not ended."""

    id: int
    queue: str
    priority: int
    max_attempts: int
    key: str | None
    limit_key: str | None
    due: float | None
    parents: set[int]
    state: str = "ready"
    attempt: int = 0
    crashes: int = 0
    lease: int | None = None
    worker: UUID | None = None
    told_to_stop: bool = False
    waits_for: set[int] = field(default_factory=set[int])


@dataclass
class ModelWorker:
    id: UUID
    expires_at: float
    unbroken_since: float
    lost: bool = False


@dataclass
class Model:
    now: float = 0.0
    jobs: dict[int, ModelJob] = field(default_factory=dict[int, ModelJob])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    paused: set[str] = field(default_factory=set[str])

    def submit(self, job: ModelJob) -> None:
        self.jobs[job.id] = job
        if any(self.jobs[parent].state in ("failed", "cancelled") for parent in job.parents):
            job.state = "cancelled"
            return
        job.waits_for = {parent for parent in job.parents if self.jobs[parent].state not in ENDED}
        job.state = "blocked" if job.waits_for else self.free_state(job)

    def free_state(self, job: ModelJob) -> str:
        return "scheduled" if job.due is not None and job.due > self.now else "ready"

    def holder(self, key: str) -> ModelJob | None:
        """The unfinished job that has this key."""
        return next((job for job in self.jobs.values() if job.key == key and job.state not in ENDED), None)

    def room(self, queue: str) -> int:
        """How many jobs of a queue may be claimed now."""
        if queue in self.paused:
            return 0
        waiting = [job for job in self.jobs.values() if job.queue == queue and job.state == "ready"]
        keys = {job.limit_key for job in waiting if job.limit_key is not None}
        return sum(job.limit_key is None for job in waiting) + sum(
            min(self.seats(key), sum(job.limit_key == key for job in waiting)) for key in keys
        )

    def seats(self, key: str) -> int:
        running = sum(job.limit_key == key and job.state == "running" for job in self.jobs.values())
        return max(0, self.limits.get(key, 1) - running)

    def claimed(self, queue: str, claimed: Iterable[int]) -> str | None:
        """What is wrong with a claim of these jobs, before it is carried out."""
        chosen = [self.jobs[job] for job in claimed]
        ready = [job for job in self.jobs.values() if job.queue == queue and job.state == "ready"]
        if any(job not in ready for job in chosen):
            return "it took a job that is not ready there"
        for key in {job.limit_key for job in chosen}:
            of_key = [job for job in chosen if job.limit_key == key]
            left = [job for job in ready if job.limit_key == key and job not in of_key]
            if key is None:
                if max((job.priority for job in left), default=0) > min(job.priority for job in of_key):
                    return "it passed over a job of a higher priority"
            elif len(of_key) > self.seats(key):
                return f"more jobs of {key} run than may"
            elif max(map(order, of_key)) > min(map(order, left), default=(99, 0)):
                return f"the jobs of {key} were not taken in order"
        return None

    def start(self, job: ModelJob, worker: UUID, lease: int) -> None:
        job.state, job.worker, job.lease = "running", worker, lease
        job.attempt += 1

    def finish(self, job: ModelJob, outcome: str, delay: float) -> None:
        job.lease = None
        if job.told_to_stop or outcome == "cancel":
            self.end(job, "cancelled")
        elif outcome == "complete":
            self.end(job, "completed")
        elif outcome == "fail" or (outcome == "retry" and job.attempt >= job.max_attempts):
            self.end(job, "failed")
        else:
            job.attempt -= outcome == "snooze"
            self.wait(job, delay)

    def wait(self, job: ModelJob, delay: float) -> None:
        if delay > 0:
            job.due = self.now + delay
        job.state = "scheduled" if delay > 0 else "ready"

    def hand_back(self, job: ModelJob, *, started: bool) -> None:
        job.lease = None
        job.crashes += started
        if job.told_to_stop:
            self.end(job, "cancelled")
        elif started and (job.attempt >= job.max_attempts or job.crashes >= CRASH_CAP):
            self.end(job, "failed")
        else:
            job.attempt -= not started
            job.state = "ready"

    def cancel(self, job: ModelJob) -> str:
        if job.state in ENDED:
            return "finished"
        if job.state == "running":
            job.told_to_stop = True
            return "requested"
        self.end(job, "cancelled")
        return "cancelled"

    def end(self, job: ModelJob, state: str) -> None:
        job.state, job.told_to_stop = state, False
        for child in [child for child in self.jobs.values() if job.id in child.waits_for]:
            if state == "completed":
                child.waits_for.discard(job.id)
                if not child.waits_for:
                    child.state = self.free_state(child)
            elif child.state == "blocked":
                child.waits_for.clear()
                self.end(child, "cancelled")

    def promote(self) -> int:
        due = [job for job in self.jobs.values() if job.state == "scheduled" and (job.due or 0) <= self.now]
        for job in due:
            job.state = "ready"
        return len(due)

    def move(self, job: ModelJob, due: float) -> str:
        if job.state == "running":
            return "running"
        if job.state in ENDED:
            return "finished"
        if job.state != "ready" or due > self.now:
            job.due = due
        if job.state != "blocked":
            job.state = "scheduled" if due > self.now else "ready"
        return job.state

    def retry(self, job: ModelJob) -> str:
        if job.state not in ENDED:
            return "unfinished"
        if job.state == "completed":
            return "finished"
        if job.key is not None and self.holder(job.key) is not None:
            return "key_held"
        if any(self.jobs[parent].state in ("failed", "cancelled") for parent in job.parents):
            return "parents"
        job.attempt = job.crashes = 0
        job.due = None if job.due is None else max(job.due, self.now)
        job.waits_for = {parent for parent in job.parents if self.jobs[parent].state not in ENDED}
        job.state = "blocked" if job.waits_for else self.free_state(job)
        return "retried"


def order(job: ModelJob) -> tuple[int, int]:
    """In which jobs of one limit key start."""
    return (-job.priority, job.id)

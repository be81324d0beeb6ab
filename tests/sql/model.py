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
    """`due` is in seconds of the model's clock. `parents` and `waits_for` are policies by parent: all that it was submitted with,
    and those that still count against it. `because` are the parents for which it was cancelled."""

    id: int
    queue: str
    priority: int
    max_attempts: int
    key: str | None
    limit_key: str | None
    due: float | None
    parents: dict[int, str]
    state: str = "ready"
    attempt: int = 0
    crashes: int = 0
    lease: int | None = None
    worker: UUID | None = None
    told_to_stop: bool = False
    skipped: bool = False
    waits_for: dict[int, str] = field(default_factory=dict[int, str])
    because: set[int] = field(default_factory=set[int])

    @property
    def is_unfinished(self) -> bool:
        return self.state not in ENDED

    @property
    def is_failed(self) -> bool:
        """In the sense of those that depend on it."""
        return self.state in ("failed", "cancelled") and not self.skipped


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
        job.waits_for = {
            parent: policy
            for parent, policy in job.parents.items()
            if self.jobs[parent].is_unfinished or self.jobs[parent].is_failed
        }
        job.state = "blocked" if job.waits_for else self.free_state(job)
        self.settle_children([self.jobs[parent] for parent in job.waits_for if self.jobs[parent].is_failed])

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
        job.attempt -= not started
        if job.told_to_stop:
            self.end(job, "cancelled")
        elif started and (job.attempt >= job.max_attempts or job.crashes >= CRASH_CAP):
            self.end(job, "failed")
        else:
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
        self.end_together([job], state)

    def end_together(self, jobs: list[ModelJob], state: str) -> None:
        for job in jobs:
            job.state, job.told_to_stop, job.waits_for = state, False, {}
        if state == "completed":
            for job in jobs:
                self.count_down(job, ("cancel", "skip", "run"))
        else:
            self.settle_children(jobs)

    def settle_children(self, failed: list[ModelJob]) -> None:
        """What becomes of those that depend on these: all that are cancelled first, then who is skipped, then who goes on."""
        family = list(failed)
        for parent in family:  # which grows
            for child in self.children(parent, "cancel"):
                child.because.add(parent.id)
                family += [child] if child not in family else []
        cancelled = family[len(failed) :]
        skipped = [child for parent in family for child in self.children(parent, "skip") if child not in cancelled]
        for job in cancelled + skipped:
            job.state, job.waits_for = "cancelled", {}
        for job in skipped:
            job.skipped = True
        for parent in family:
            self.count_down(parent, ("run",))
        for parent in skipped:
            self.count_down(parent, ("cancel", "skip", "run"))

    def children(self, parent: ModelJob, policy: str) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.waits_for.get(parent.id) == policy]

    def count_down(self, parent: ModelJob, policies: tuple[str, ...]) -> None:
        for child in self.jobs.values():
            if child.waits_for.get(parent.id) in policies:
                del child.waits_for[parent.id]
                if not child.waits_for:
                    child.state = self.free_state(child)

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

    def retry(self, asked: ModelJob) -> str:
        if asked.state not in ("failed", "cancelled"):
            return "finished" if asked.state == "completed" else "unfinished"
        family = self.revived_with(asked)
        held = self.without_key(family)
        able = [job for job in family if job not in held]
        retried = self.with_parents(able)
        for job in able:
            if job not in retried and job is not asked:  # what else keeps it cancelled brings it back
                job.because |= {
                    parent for parent in self.failed_parents(job, ("cancel",)) if self.jobs[parent] not in retried
                }
        for job in retried:
            job.attempt = job.crashes = 0
            job.skipped, job.because = False, set()
            job.due = None if job.due is None else max(job.due, self.now)
            job.waits_for = {
                parent: policy
                for parent, policy in job.parents.items()
                if self.jobs[parent].is_unfinished or self.jobs[parent] in retried
            }
        for job in retried:
            job.state = "blocked" if job.waits_for else self.free_state(job)
        return "retried" if asked in retried else "key_held" if asked in held else "parents"

    def revived_with(self, asked: ModelJob) -> list[ModelJob]:
        """The job and all that were cancelled because of it, directly or not, by id."""
        family = [asked]
        for parent in family:  # which grows
            family += [job for job in self.jobs.values() if parent.id in job.because and job not in family]
        return sorted(family, key=lambda job: job.id)

    def without_key(self, family: list[ModelJob]) -> list[ModelJob]:
        """Those whose keys are held, or asked for by an earlier one of them."""
        keyed = [job for job in family if job.key is not None]
        return [
            job
            for n, job in enumerate(keyed)
            if self.holder(job.key or "") not in (None, job) or job.key in [earlier.key for earlier in keyed[:n]]
        ]

    def with_parents(self, family: list[ModelJob]) -> list[ModelJob]:
        """Those of which no parent that must not fail has failed and is not retried with them."""
        while True:
            ids = {job.id for job in family}
            left = [job for job in family if not self.failed_parents(job, ("cancel", "skip")) - ids]
            if left == family:
                return left
            family = left

    def failed_parents(self, job: ModelJob, policies: tuple[str, ...]) -> set[int]:
        return {parent for parent, policy in job.parents.items() if policy in policies and self.jobs[parent].is_failed}


def order(job: ModelJob) -> tuple[int, int]:
    """In which jobs of one limit key start."""
    return (-job.priority, job.id)

"""What jobs and workers are supposed to do, in plain Python: what the SQL is compared with, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

ENDED = ("completed", "failed", "cancelled")
WAITING = ("blocked", "scheduled", "ready")
LEASE_SECONDS = 100
GRACE_SECONDS = 20  # by which an attempt must have overrun to be taken away: a fifth of the lease
RETRY_SECONDS = 10  # the backoff of every job here
MAX_CRASHES = {"echo": 3, "fragile": 1}


@dataclass
class Step:
    """A sleep or a wait for an event, that a job remembers. Without a timeout its end is `math.inf`."""

    kind: str
    until: float
    is_over: bool = False


@dataclass
class ModelJob:
    """Times are in seconds of the model's clock. `parents` and `waits_for` are policies by parent: those that it was
    submitted with, and those that have not been dealt with yet. `because` are those for which it was cancelled."""

    id: int
    task: str
    queue: str
    priority: int
    max_attempts: int
    key: str | None
    key_until: float | None
    limit_key: str | None
    due: float | None
    deadline: float | None
    timeout: float | None
    parents: dict[int, str]
    state: str = "ready"
    ready_since: float = math.inf
    was_moved: bool = False
    attempt: int = 0
    crashes: int = 0
    lease: int | None = None
    worker: UUID | None = None
    ends_by: float | None = None
    told_to_stop: bool = False
    gave_up_key: bool = False
    skipped: bool = False
    waits_for: dict[int, str] = field(default_factory=dict[int, str])
    because: set[int] = field(default_factory=set[int])
    steps: dict[str, Step] = field(default_factory=dict[str, Step])

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
class Limit:
    """Of a limit key or a queue. A bucket that nobody has used yet is full."""

    concurrency: int | None
    rate: float | None = None
    tokens: float = math.inf
    refilled_at: float = 0.0

    def room(self, running: int, now: float) -> float:
        seats = math.inf if self.concurrency is None else self.concurrency - running
        return max(0, min(seats, math.inf if self.rate is None else math.floor(self.tokens_at(now))))

    def tokens_at(self, now: float) -> float:
        rate = self.rate or 0
        return min(max(1, math.ceil(rate)), self.tokens + rate * (now - self.refilled_at))

    def take(self, started: int, now: float) -> None:
        self.tokens, self.refilled_at = self.tokens_at(now) - started, now


@dataclass
class Model:
    now: float = 0.0
    jobs: dict[int, ModelJob] = field(default_factory=dict[int, ModelJob])
    keys: dict[str, tuple[int, float | None]] = field(default_factory=dict[str, "tuple[int, float | None]"])
    limits: dict[str, Limit] = field(default_factory=dict[str, Limit])
    queues: dict[str, Limit] = field(default_factory=dict[str, Limit])
    paused: set[str] = field(default_factory=set[str])
    events: set[str] = field(default_factory=set[str])

    # submission and keys

    def submission(self, key: str | None, mode: str) -> str:
        """What would become of a job with this key that is submitted now."""
        holder = self.holder(key)
        if holder is None:
            return "created"
        if mode in ("keep", "reject"):
            return {"keep": "kept", "reject": "rejected"}[mode]
        if mode == "replace" and holder.state != "running":
            return "replaced" if holder.is_unfinished else "kept"
        return "superseded"

    def holder(self, key: str | None) -> ModelJob | None:
        job, until = self.keys.get(key or "", (0, None))
        holder = self.jobs.get(job)
        return holder if holder and (holder.is_unfinished or (until or 0) > self.now) else None

    def submit(self, job: ModelJob) -> None:
        self.jobs[job.id] = job
        if job.key is not None:
            self.keys[job.key] = (job.id, job.key_until)
        job.waits_for = {
            parent: policy
            for parent, policy in job.parents.items()
            if self.jobs[parent].is_unfinished or self.jobs[parent].is_failed
        }
        job.state = "blocked" if job.waits_for else self.free_state(job)
        self.settle_children([self.jobs[parent] for parent in job.waits_for if self.jobs[parent].is_failed])

    def supersede(self, holder: ModelJob, *, told: bool) -> None:
        del self.keys[holder.key or ""]
        holder.key_until = None
        if holder.state == "running":
            holder.gave_up_key = True
            holder.told_to_stop = holder.told_to_stop or told
        elif holder.is_unfinished:
            self.end(holder, "cancelled")

    def replace(self, job: ModelJob, new: ModelJob) -> None:
        """`job` gets all values of the new one but its parents."""
        due = self.now if new.due is None else new.due
        for name in ("task", "queue", "priority", "max_attempts", "key_until", "limit_key", "deadline", "timeout"):
            setattr(job, name, getattr(new, name))
        self.keys[job.key or ""] = (job.id, job.key_until)
        job.was_moved = True
        job.attempt = job.crashes = 0
        job.steps = {}
        if job.state != "ready" or due > self.now:
            job.due = due
        if job.state != "blocked":
            job.state = self.free_state(job)

    def free_key(self, job: ModelJob) -> None:
        holder, until = self.keys.get(job.key or "", (0, None))
        if holder == job.id and (until is None or until <= self.now):
            del self.keys[job.key or ""]

    # claims and limits

    def room(self, queue: str) -> float:
        """How many jobs of a queue may be claimed now."""
        if queue in self.paused:
            return 0
        waiting = self.claimable(queue)
        keys = {job.limit_key for job in waiting if job.limit_key is not None}
        free = sum(job.limit_key is None for job in waiting) + sum(
            min(self.seats(key), sum(job.limit_key == key for job in waiting)) for key in keys
        )
        running = sum(job.queue == queue and job.state == "running" for job in self.jobs.values())
        return min(free, self.queues.get(queue, Limit(None)).room(running, self.now))

    def claimable(self, queue: str) -> list[ModelJob]:
        ready = [job for job in self.jobs.values() if job.queue == queue and job.state == "ready"]
        return [job for job in ready if job.deadline is None or job.deadline > self.now]

    def seats(self, key: str) -> float:
        running = sum(job.limit_key == key and job.state == "running" for job in self.jobs.values())
        return self.limits.get(key, Limit(1)).room(running, self.now)

    def claimed(self, queue: str, claimed: Iterable[int]) -> str | None:
        """What is wrong with a claim of these jobs, before it is carried out."""
        chosen = [self.jobs[job] for job in claimed]
        ready = self.claimable(queue)
        if any(job not in ready for job in chosen):
            return "it took a job that may not start there"
        for key in {job.limit_key for job in chosen}:
            of_key = [job for job in chosen if job.limit_key == key]
            left = [job for job in ready if job.limit_key == key and job not in of_key]
            if key is None:
                if max((job.priority for job in left), default=0) > min(job.priority for job in of_key):
                    return "it passed over a job of a higher priority"
            elif len(of_key) > self.seats(key):
                return f"more jobs of {key} run than may"
            elif any(goes_before(job, other) for job in left for other in of_key):
                return f"the jobs of {key} were not taken in order"
        return None

    def note_ready(self, step: int) -> None:
        """To be called after each step: `ready_since` counts them."""
        for job in self.jobs.values():
            if job.state == "ready":
                job.ready_since = min(job.ready_since, step)
            elif job.ready_since < math.inf:
                job.was_moved = True

    def start(self, job: ModelJob, worker: UUID, lease: int) -> None:
        job.state, job.worker, job.lease = "running", worker, lease
        job.attempt += 1
        ends = [] if job.timeout is None else [self.now + job.timeout]
        job.ends_by = min(ends + ([] if job.deadline is None else [job.deadline]), default=None)
        for limit in (self.queues.get(job.queue), self.limits.get(job.limit_key or "")):
            if limit is not None and limit.rate is not None:
                limit.take(1, self.now)

    # the ends of an attempt

    def finish(self, job: ModelJob, outcome: str, delay: float | None = None, step: str | None = None) -> None:
        """Outcome died is a retry after the process of the attempt has died."""
        seconds = delay if delay is not None else 0 if outcome == "snooze" else RETRY_SECONDS
        job.crashes += outcome == "died"
        if job.told_to_stop or outcome == "cancel" or (job.gave_up_key and outcome in ("retry", "died", "snooze")):
            self.end(job, "cancelled")
        elif outcome == "complete":
            self.end(job, "completed")
        elif outcome == "snooze":
            job.attempt -= 1
            self.let_go(job, job.steps[step].until - self.now if step else seconds)
            if step is not None:
                self.wake([job])  # also for another event that it has asked for, whose wait is to end at the same time
        elif outcome == "fail" or not self.may_run_again(job, outcome, seconds):
            self.end(job, "failed")
        else:
            self.let_go(job, seconds)

    def may_run_again(self, job: ModelJob, outcome: str, seconds: float) -> bool:
        return (
            job.attempt < job.max_attempts
            and not (outcome == "died" and job.crashes >= MAX_CRASHES[job.task])
            and (job.deadline is None or job.deadline > self.now + seconds)
        )

    def let_go(self, job: ModelJob, seconds: float) -> None:
        job.was_moved = True
        job.lease = None
        if seconds > 0:
            job.due = self.now + seconds
        job.state = "scheduled" if seconds > 0 else "ready"

    def hand_back(self, job: ModelJob, *, started: bool) -> None:
        job.crashes += started
        job.attempt -= not started
        if job.told_to_stop or job.gave_up_key:
            self.end(job, "cancelled")
        elif started and (job.attempt >= job.max_attempts or job.crashes >= MAX_CRASHES[job.task]):
            self.end(job, "failed")
        else:
            self.let_go(job, 0)

    def expire_waiting(self) -> list[ModelJob]:
        late = [job for job in self.jobs.values() if job.state in WAITING and self.is_past(job.deadline)]
        self.end_together(late, "failed")
        return late

    def is_past(self, time: float | None) -> bool:
        return time is not None and time <= self.now

    # sleeps and events

    def ask(self, job: ModelJob, name: str, kind: str, seconds: float) -> str:
        step = job.steps.setdefault(name, Step(kind, self.now + seconds))
        if not step.is_over and name in self.events:
            step.is_over, step.kind = True, "emitted"
        elif not step.is_over and step.until <= self.now:
            step.is_over = True
        return {"emitted": "event"}.get(step.kind, "over") if step.is_over else "wait"

    def emit(self, event: str) -> int | None:
        """How many were woken; None if it had been emitted before."""
        if event in self.events:
            return None
        self.events.add(event)
        return self.wake([job for job in self.jobs.values() if event in job.steps])

    def wake(self, jobs: list[ModelJob]) -> int:
        woken = [job for job in jobs if job.state == "scheduled" and self.parked_for(job, emitted=True)]
        for job in woken:
            job.state, job.due = "ready", self.now
        return len(woken)

    def parked_for(self, job: ModelJob, *, emitted: bool = False) -> list[Step]:
        """Of what it waits for until it is due."""
        return [
            step
            for name, step in job.steps.items()
            if not step.is_over and step.until == job.due and (name in self.events or not emitted)
        ]

    # what people do to jobs

    def cancel(self, job: ModelJob) -> str:
        if not job.is_unfinished:
            return "finished"
        if job.state == "running":
            job.told_to_stop = True
            return "requested"
        self.end(job, "cancelled")
        return "cancelled"

    def delete(self, job: ModelJob) -> str:
        if job.state == "running":
            return "running"
        self.cancel(job)
        if self.keys.get(job.key or "", (0, None))[0] == job.id:
            del self.keys[job.key or ""]
        del self.jobs[job.id]
        for other in self.jobs.values():
            other.parents.pop(job.id, None)
            other.because.discard(job.id)
        return "deleted"

    def edit(self, job: ModelJob, changes: dict[str, Any]) -> str:
        if job.state in ("running", "completed"):
            return "running" if job.state == "running" else "finished"
        job.was_moved = True
        for name, value in changes.items():
            setattr(job, name, value)
        return "edited"

    def move(self, job: ModelJob, due: float) -> str:
        if job.state == "running":
            return "running"
        if not job.is_unfinished:
            return "finished"
        if job.state == "scheduled":
            for step in self.parked_for(job):
                step.until = due
        if job.state != "ready" or due > self.now:
            job.due = due
        if job.state != "blocked":
            job.state = self.free_state(job)
        return job.state

    def promote(self) -> int:
        due = [job for job in self.jobs.values() if job.state == "scheduled" and (job.due or 0) <= self.now]
        for job in due:
            job.state = "ready"
        return len(due)

    def free_state(self, job: ModelJob) -> str:
        return "scheduled" if job.due is not None and job.due > self.now else "ready"

    # ends, and what follows from them

    def end(self, job: ModelJob, state: str) -> None:
        self.end_together([job], state)

    def end_together(self, jobs: list[ModelJob], state: str) -> None:
        for job in jobs:
            self.close(job, state)
        if state == "completed":
            for job in jobs:
                self.count_down(job, ("cancel", "skip", "run"))
        else:
            self.settle_children(jobs)

    def close(self, job: ModelJob, state: str) -> None:
        job.state, job.lease, job.waits_for = state, None, {}
        job.told_to_stop = job.gave_up_key = False
        self.free_key(job)

    def settle_children(self, failed: list[ModelJob]) -> None:
        """Of these: first all are cancelled that must be, then the others skipped, then the rest may go on."""
        family = list(failed)
        for parent in family:  # which grows
            for child in self.children(parent, "cancel"):
                child.because.add(parent.id)
                family += [child] if child not in family else []
        cancelled = family[len(failed) :]
        skipped = [child for parent in family for child in self.children(parent, "skip") if child not in cancelled]
        for job in cancelled + skipped:
            self.close(job, "cancelled")
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

    # revival

    def retry(self, asked: ModelJob) -> str:
        if asked.state not in ("failed", "cancelled"):
            return "finished" if asked.state == "completed" else "unfinished"
        family = self.revived_with(asked)
        held = self.without_key(family)
        able = [job for job in family if job not in held and not self.is_past(job.deadline)]
        retried = self.with_parents(able)
        for job in able:
            if job not in retried and job is not asked:  # what else keeps it cancelled brings it back
                failed = self.failed_parents(job, ("cancel",))
                job.because |= {parent for parent in failed if self.jobs[parent] not in retried}
        for job in retried:
            self.revive(job)
            job.waits_for = {
                parent: policy
                for parent, policy in job.parents.items()
                if self.jobs[parent].is_unfinished or self.jobs[parent] in retried
            }
        for job in retried:
            job.state = "blocked" if job.waits_for else self.free_state(job)
        if asked in held:
            return "key_held"
        return "retried" if asked in retried else "parents" if asked in able else "deadline"

    def revive(self, job: ModelJob) -> None:
        """All but its state and its parents."""
        if job.key is not None:
            self.keys[job.key] = (job.id, job.key_until)
        job.was_moved = True
        job.attempt = job.crashes = 0
        job.skipped, job.because = False, set()
        for name, step in list(job.steps.items()):
            if step.kind == "event":  # a wait begins anew; what was emitted is remembered
                job.due = self.now if step.until == job.due else job.due
                del job.steps[name]
        job.due = None if job.due is None else max(job.due, self.now)

    def revived_with(self, asked: ModelJob) -> list[ModelJob]:
        """The job and all that were cancelled because of it, directly or not, by id."""
        family = [asked]
        for parent in family:  # which grows
            family += [job for job in self.jobs.values() if parent.id in job.because and job not in family]
        return sorted(family, key=lambda job: job.id)

    def without_key(self, family: list[ModelJob]) -> list[ModelJob]:
        """Those whose keys are held, or asked for by an earlier one of them."""
        held: list[ModelJob] = []
        first: dict[str, ModelJob] = {}
        for job in family:
            if job.key is not None and (self.holder(job.key) or first.setdefault(job.key, job)) is not job:
                held.append(job)
        return held

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


def goes_before(job: ModelJob, other: ModelJob) -> bool:
    """Of one limit key, if both wait for the first time: who was moved may have kept an old place, or got a new one."""
    if job.was_moved or other.was_moved:
        return False
    return job.priority == other.priority and job.id < other.id and job.ready_since <= other.ready_since < math.inf

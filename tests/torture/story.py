"""Tells the history of a small run as the processes and the database would have written it, and judges it.

Every act takes a millisecond, on the machine's clock and on the database's. What an act writes, and in which order, is
what the product does; `event`, `lease_event` and `row` write whatever a test wants to be wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from dtsched.torture import state
from dtsched.torture.checker.findings import Finding
from dtsched.torture.checker.invariants import INVARIANTS
from dtsched.torture.checker.run import Run, Told
from dtsched.torture.clocks import Pair
from dtsched.torture.history import Op, Phase, Record, Role
from dtsched.torture.plan import Plan, Window

EPOCH = 1_700_000_000.0
MILLISECOND = 1_000_000
LEASE_SECONDS = 5.0


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def told(_seed: int, key: str, attempt: int) -> Told:
    """`failing-…` is to raise each time, `retrying-…` in its first attempt."""
    raises = key.startswith("failing") or (key.startswith("retrying") and attempt == 1)
    return cast("Told", SimpleNamespace(act="raise" if raises else "return"))


class Story:
    def __init__(self, *faults: str) -> None:
        self.ns = 1_000_000_000
        self.records: list[Record] = []
        self.jobs: dict[int, dict[str, Any]] = {}
        self.job_events: list[state.Event] = []
        self.lease_events: list[state.LeaseEvent] = []
        self.worker_events: list[state.WorkerEvent] = []
        self.tables: dict[str, list[Any]] = {
            name: [] for name in ("limits", "queues", "tasks", "schedules", "ticks", "outbox", "effects", "problems")
        }
        self.windows = [Window(fault=fault, at=1.0, lasts=0.0, seed=0) for fault in faults]
        self._counter = 0
        self._xid = 1000
        self.last_lease = 0
        self._held: dict[int, tuple[int, str]] = {}
        self._workers: dict[str, float] = {}
        self._lost: dict[str, float] = {}
        self._slots: dict[str, int] = {}

    @property
    def at(self) -> float:
        return EPOCH + self.ns / 1e9

    def wait(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def drain(self) -> None:
        """Whatever is due has had its time."""
        self.wait(60)
        self.record("phase", "ok", name="check")

    # what processes write

    def record(
        self,
        op: Op,
        phase: Phase,
        *,
        role: Role = "runner",
        process: str = "runner",
        key: str | None = None,
        job: int | None = None,
        lease: int | None = None,
        attempt: int | None = None,
        digest: str | None = None,
        **note: object,
    ) -> Record:
        self.ns += MILLISECOND
        record = Record(
            ns=self.ns, process=process, role=role, op=op, phase=phase, key=key, job=job, lease=lease, attempt=attempt,
            digest=digest, note=note,
        )  # fmt: skip
        self.records.append(record)
        return record

    def invoke(self, key: str, **note: Any) -> None:
        args = {"name": key, "payload": None}
        given: dict[str, Any] = {"kind": key.partition("-")[0], "door": "python", "expect": ["completed"], **note}
        self.record("submit", "invoke", role="submitter", process="submitter", key=key, digest=digest(args),
                    **given)  # fmt: skip

    def answer(self, key: str, phase: Phase, job: int | None = None, **note: Any) -> None:
        self.record("submit", phase, role="submitter", process="submitter", key=key, job=job, **note)

    def submit(self, name: str, /, *, note: dict[str, Any] | None = None, to: str = "ready", **columns: Any) -> int:
        """Asked for, written and answered."""
        self.invoke(name, **(note or {}))
        job = self.row(name, state=to, **columns)
        self.event(job, None, to, who=None)
        self.answer(name, "ok", job, created=True)
        return job

    def start(self, lease: int, *, process: str | None = None, **fields: Any) -> None:
        job, worker = self._held[lease]
        row = self.jobs[job]
        args = {"name": row["name"], "payload": None}
        given: dict[str, Any] = {"attempt": row["attempt"], "digest": digest(args), **fields}
        who = process or worker
        self.record("start", "ok", role="worker", process=who, key=row["name"], job=job, lease=lease, **given)

    def end(self, lease: int, outcome: str = "return", *, process: str | None = None, **note: Any) -> None:
        job, worker = self._held[lease]
        row = self.jobs[job]
        self.record("end", "ok", role="worker", process=process or worker, key=row["name"], job=job, lease=lease,
                    attempt=row["attempt"], outcome=outcome, **note)  # fmt: skip

    def fault(self, fault: str, *jobs: int, lasts: float = 0.0, overlaps: bool = False, **note: Any) -> None:
        self.record("fault", "invoke", fault=fault, jobs=list(jobs), overlaps=overlaps)
        self.wait(lasts)
        self.record("fault", "ok", fault=fault, **note)

    def pulse(
        self, *, finished: int = 0, ready: int = 0, ok: bool = True, listeners: int = 2, age: float = 0.1
    ) -> None:
        """Of two workers."""
        lanes = {"default": {"jobs": ready, "age": age}} if ready else {}
        self.record("pulse", "ok" if ok else "fail", finished=finished, ready=ready, due=ready, queues=lanes,
                    workers=2, listeners=listeners)  # fmt: skip

    def pulses(self, seconds: float, **seen: Any) -> None:
        """Four a second, for so long: the last of them when it is over."""
        for _ in range(round(seconds / 0.25)):
            self.wait(0.249)
            self.pulse(**seen)

    # what the database writes

    def row(self, name: str | None, /, **columns: Any) -> int:
        job = len(self.jobs) + 1
        self.jobs[job] = {
            "id": job, "name": name, "task": "work", "queue": "default", "state": "ready", "priority": 5,
            "run_at": None, "attempt": 0, "max_attempts": 5, "key": None, "limit_key": None, "depends_on": None,
            "policies": None, "skipped": None, "error": None, "created_at": self.at, "crash_count": 0, "deadline": None,
            "result": None,
            **columns,
        }  # fmt: skip
        return job

    def event(
        self, job: int, from_state: str | None, to_state: str | None, *, who: str | None, same: bool = False
    ) -> None:
        """A change of state, in a transaction of its own, or in that of the event before (`same`)."""
        self.ns += MILLISECOND
        row = self.jobs[job]
        if to_state is not None:
            row["state"] = to_state
        self.job_events.append(
            state.Event(
                id=self._next(),
                job_id=job,
                from_state=from_state,
                to_state=to_state,
                attempt=row["attempt"],
                run_at=row["run_at"],
                who=who,
                at=self.at,
                xid=self._transaction(same=same),
            )
        )

    def move(self, job: int, to_state: str, who: str, *, same: bool = False) -> None:
        self.event(job, self.jobs[job]["state"], to_state, who=who, same=same)

    def lease_event(self, kind: str, lease: int, job: int, worker: str, who: str | None, **columns: Any) -> None:
        self.ns += MILLISECOND
        row = self.jobs[job]
        given: dict[str, Any] = {
            "deadline": None, "cancel_requested": False, "gave_up_key": False,
            "worker_expires_at": self._workers.get(worker), "worker_lost_at": self._lost.get(worker), **columns,
        }  # fmt: skip
        self.lease_events.append(
            state.LeaseEvent(
                id=self._next(),
                kind=kind,
                lease_id=lease,
                job_id=job,
                worker_id=worker,
                limit_key=row["limit_key"],
                queue=row["queue"],
                who=who,
                at=self.at,
                xid=self._transaction(same=False),
                **given,
            )
        )

    def worker_event(
        self,
        kind: str,
        worker: str,
        expires_at: float,
        *,
        lost_at: float | None = None,
        slots: int | None = None,
        who: str = "renew",
    ) -> None:
        """Without any, its slots are those that it had before."""
        self._slots[worker] = slots if slots is not None else self._slots.get(worker, 10)
        self._workers[worker] = expires_at
        if lost_at is not None:
            self._lost[worker] = lost_at
        self.worker_events.append(
            state.WorkerEvent(
                id=self._next(),
                kind=kind,
                worker_id=worker,
                slots=self._slots[worker],
                lease=LEASE_SECONDS,
                expires_at=expires_at,
                lost_at=lost_at,
                who=who,
                at=self.at,
            )
        )

    def renew(self, worker: str = "w1") -> None:
        kind = "renewed" if worker in self._workers else "registered"
        self.worker_event(kind, worker, self.at + LEASE_SECONDS)

    def claim(self, job: int, worker: str = "w1") -> int:
        self.renew(worker)
        self.last_lease += 1
        self._held[self.last_lease] = (job, worker)
        self.jobs[job]["attempt"] += 1
        self.lease_event("granted", self.last_lease, job, worker, "claim")
        self.move(job, "running", "claim", same=True)
        return self.last_lease

    def release(self, lease: int, to: str, who: str = "work", *, restored: bool = False, **columns: Any) -> None:
        """The lease goes, and the job with it."""
        job, worker = self._held[lease]
        self.lease_event("released", lease, job, worker, who, **columns)
        self.jobs[job]["attempt"] -= restored
        self.move(job, to, who, same=True)

    def lose(self, lease: int, to: str = "ready") -> None:
        """Its worker has expired, and rescue() takes it."""
        worker = self._held[lease][1]
        self.wait(max(0.0, self._workers[worker] + 0.001 - self.at))
        self.worker_event("lost", worker, self._workers[worker], lost_at=self.at)
        self.jobs[self._held[lease][0]]["crash_count"] += 1
        self.release(lease, to, "rescue")

    def work(self, job: int, worker: str = "w1") -> int:
        """Claimed, started, returned from, and completed, with a result."""
        lease = self.claim(job, worker)
        self.start(lease)
        self.end(lease, result=digest({"done": job}))
        self.jobs[job]["result"] = {"done": job}
        self.release(lease, "completed")
        return lease

    def done(self, name: str, /, **more: Any) -> int:
        job = self.submit(name, **more)
        self.work(job)
        return job

    def tick(self, second: int, *, job: int | None, outcome: str = "fired", late: float = 0.1) -> None:
        tick = EPOCH + second
        self.tables["ticks"].append(state.Tick(schedule="each", tick=tick, outcome=outcome, job_id=job, at=tick + late))

    def schedule(self, **columns: Any) -> None:
        given: dict[str, Any] = {"catchup": "all", "overlap": "allow", "problem": None, **columns}
        self.tables["schedules"].append(
            state.Schedule(
                name="each",
                spec="* * * * * *",
                tz="UTC",
                catchup_limit=1000,
                paused=False,
                since=EPOCH,
                next_at=None,
                **given,
            )
        )

    # what comes of it

    def run(self) -> Run:
        kept = state.State(Path("/nowhere"))
        encode = msgspec.json.encode
        rows: list[dict[str, Any]] = [
            {**row, "result": msgspec.Raw(encode(row["result"]))} for row in self.jobs.values()
        ]
        kept.jobs = [state.Job(**row) for row in rows]
        kept.job_events = self.job_events
        kept.lease_events = self.lease_events
        kept.worker_events = self.worker_events
        kept.pairs = [Pair(ns=ns, at=EPOCH + ns / 1e9) for ns in (0, self.ns + MILLISECOND)]
        for name, rows in self.tables.items():
            setattr(kept, name, rows)
        plan = Plan(
            seed=42, minutes=1.0, mode="storm", workers=2, apis=0, lease_seconds=LEASE_SECONDS, baseline_seconds=10.0,
            windows=self.windows, left_out={},
        )  # fmt: skip
        return Run(plan, self.records, kept, behaviour=told, digest=digest)

    def _next(self) -> int:
        self._counter += 1
        return self._counter

    def _transaction(self, *, same: bool) -> int:
        self._xid += not same
        return self._xid


def findings(story: Story) -> Sequence[Finding]:
    run = story.run()
    return [invariant(run) for invariant in INVARIANTS]


def violated(story: Story) -> list[str]:
    return [finding.name for finding in findings(story) if finding.violated]


def finding(story: Story, name: str) -> Finding:
    return next(one for one in findings(story) if one.name == name)

"""A run as the checkers look at it: what was written down, by submission, by job, by lease and by fault."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dtsched.errors import InvalidInput
from dtsched.torture.clocks import Clock, Pair
from dtsched.torture.history import Record, read
from dtsched.torture.plan import Plan
from dtsched.torture.state import Event, Job, LeaseEvent, State, load, missing_tables

ENDED = frozenset({"completed", "failed", "cancelled"})

BY_ITS_WORKER = frozenset(
    {"finish", "work", "complete", "finish_lease", "release", "deregister_worker", "deregister_http_worker"}
)
"""Functions by which a worker gives up a lease of its own."""
AT_ITS_END = frozenset({"finish", "work", "complete", "finish_lease"})
"""Of these, those that come with an outcome."""
FORGOTTEN = frozenset({"reconcile", "heartbeat"})
"""Those by which it gives up leases that it does not know of."""


_ZOMBIE_NS = 30_000_000_000
"""For so long after the database went back in time the leases of before may be heard of."""

LATE_SECONDS = 2.0
"""A statement may have read the clock so long before what it did is traced: it may have waited for a lock."""


class Told(Protocol):
    """What behaviour() returns."""

    @property
    def act(self) -> str: ...


Behaviour = Callable[[int, str, int], Told]
Digest = Callable[[object], str]


@dataclass(slots=True)
class Submission:
    """All that was tried to submit the job of one key. `note` is what its first record says of it."""

    key: str
    note: Mapping[str, Any]
    invoked: list[Record] = field(default_factory=list[Record])
    answered: list[Record] = field(default_factory=list[Record])

    @property
    def accepted(self) -> Record | None:
        return next((record for record in self.answered if record.phase == "ok"), None)

    @property
    def ambiguous(self) -> bool:
        """Nobody knows: some try got no answer, also because who made it was killed, and none a yes."""
        unanswered = len(self.answered) < len(self.invoked)
        return self.accepted is None and (unanswered or any(record.phase == "info" for record in self.answered))

    @property
    def unique(self) -> Mapping[str, str | None]:
        """key, key_for and on_conflict, as it was submitted; all None for a job without a key."""
        return {"key": None, "key_for": None, "on_conflict": None, **(self.note.get("unique") or {})}

    @property
    def job(self) -> int | None:
        return None if self.accepted is None else self.accepted.job


@dataclass(slots=True)
class Handler:
    """One that was started. Without an end it was killed, or still runs; one that returned and whose completion then
    failed has two."""

    start: Record
    ends: list[Record] = field(default_factory=list[Record])

    @property
    def end(self) -> Record | None:
        return self.ends[-1] if self.ends else None

    @property
    def outcomes(self) -> set[str]:
        return {str(end.note.get("outcome")) for end in self.ends}


@dataclass(slots=True)
class Tenure:
    """A lease from its grant to its release, if it had one."""

    granted: LeaseEvent
    released: LeaseEvent | None = None

    @property
    def taken(self) -> bool:
        """By somebody else than its worker."""
        return self.released is not None and self.released.who not in BY_ITS_WORKER


@dataclass(slots=True)
class Injection:
    """A fault's window. Its record is written when it has struck, and says by note.began_ns when that began, where it
    took a while. `healed` is infinite where nobody wrote that it was."""

    fault: str
    record: Record
    healed: float = inf
    outcome: Record | None = None
    told: list[Record] = field(default_factory=list[Record])

    @property
    def began(self) -> int:
        return int(self.record.note.get("began_ns", self.record.ns))

    @property
    def jobs(self) -> Sequence[int]:
        return self.record.note.get("jobs") or (self.outcome.note.get("jobs") if self.outcome else None) or ()

    @property
    def exposed(self) -> int:
        """How many: its jobs, or what it says that it has struck."""
        struck = None if self.outcome is None else self.outcome.note.get("struck")
        return len(self.jobs) if struck is None else int(struck)

    @property
    def failed(self) -> bool:
        return self.outcome is not None and self.outcome.phase == "fail"

    @property
    def overlaps(self) -> bool:
        """It may have a handler started beside one that still runs."""
        return bool(self.record.note.get("overlaps"))


class Run:
    def __init__(
        self,
        plan: Plan,
        records: Iterable[Record],
        state: State,
        *,
        behaviour: Behaviour | None = None,
        digest: Digest | None = None,
    ) -> None:
        self.plan = plan
        self.records = list(records)
        self.state = state
        self.behaviour = behaviour
        self.digest = digest

    @staticmethod
    def load(folder: Path, *, behaviour: Behaviour | None = None, digest: Digest | None = None) -> "Run":
        """Raises InvalidInput where something of it is missing or cannot be read: nothing is judged by a part."""
        missing = [name for name in ("plan.json", "history") if not (folder / name).exists()]
        if missing:
            raise InvalidInput(f"{folder} holds no run: there is no {' and no '.join(missing)}", field="dir")
        if lacking := missing_tables(folder):
            raise InvalidInput(
                f"the run in {folder} has not come to its end, and cannot be judged: of what the tables held there is "
                f"no {', no '.join(lacking[:3])}{', …' if len(lacking) > 3 else ''}",
                field="dir",
            )
        try:
            plan, records = Plan.load(folder), list(read(folder / "history"))
        except msgspec.DecodeError as error:
            raise InvalidInput(f"what is written down in {folder} cannot be read: {error}", field="dir") from error
        return Run(plan, records, load(folder), behaviour=behaviour, digest=digest)

    def of(self, op: str) -> Sequence[Record]:
        return self._by_op.get(op, ())

    @cached_property
    def _by_op(self) -> Mapping[str, list[Record]]:
        by_op: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            by_op[record.op].append(record)
        return by_op

    @cached_property
    def clock(self) -> Clock:
        """From what was dumped, and from each pulse."""
        return Clock([*self.state.pairs, *(pair for pulse in self.of("pulse") if (pair := _pair(pulse)) is not None)])

    @cached_property
    def submissions(self) -> Mapping[str, Submission]:
        """By key, in the order of their first invocation."""
        found: dict[str, Submission] = {}
        for record in self.of("submit"):
            if record.key is not None:
                known = found.setdefault(record.key, Submission(record.key, record.note))
                (known.invoked if record.phase == "invoke" else known.answered).append(record)
        return found

    @cached_property
    def jobs(self) -> Mapping[int, Job]:
        return {job.id: job for job in self.state.jobs}

    @cached_property
    def named(self) -> Mapping[str, list[Job]]:
        """The rows that carry a submitter's name."""
        named: defaultdict[str, list[Job]] = defaultdict(list)
        for job in self.state.jobs:
            if job.name is not None:
                named[job.name].append(job)
        return named

    @cached_property
    def events(self) -> Mapping[int, list[Event]]:
        """By job, in their order."""
        events: defaultdict[int, list[Event]] = defaultdict(list)
        for event in self.state.job_events:
            events[event.job_id].append(event)
        return events

    @cached_property
    def tenures(self) -> Mapping[int, list[Tenure]]:
        """By job, in the order of their grants."""
        tenures: defaultdict[int, list[Tenure]] = defaultdict(list)
        for tenure in self.leases.values():
            tenures[tenure.granted.job_id].append(tenure)
        return tenures

    @cached_property
    def leases(self) -> Mapping[int, Tenure]:
        """By lease, in the order of their grants."""
        leases: dict[int, Tenure] = {}
        for event in self.state.lease_events:
            if event.kind == "granted":
                leases.setdefault(event.lease_id, Tenure(event))
            elif event.lease_id in leases:
                leases[event.lease_id].released = event
        return leases

    @cached_property
    def granted(self) -> Sequence[LeaseEvent]:
        """All grants, in order."""
        return [event for event in self.state.lease_events if event.kind == "granted"]

    @cached_property
    def grants(self) -> Sequence[int]:
        """The ids of their events."""
        return [event.id for event in self.granted]

    @cached_property
    def handlers(self) -> Mapping[int, list[Handler]]:
        """By job, in the order of their starts."""
        handlers: defaultdict[int, list[Handler]] = defaultdict(list)
        running: dict[tuple[int | None, str], Handler] = {}
        for record in self.records:
            if record.op == "start" and record.job is not None:
                handler = Handler(record)
                handlers[record.job].append(handler)
                running[record.lease, record.process] = handler
            elif record.op == "end" and (handler := running.get((record.lease, record.process))) is not None:
                handler.ends.append(record)
        return handlers

    def tenure_ended_by(self, event: Event) -> Tenure | None:
        """The lease of its job that the transaction of this event released."""
        return self._ended_by.get((event.job_id, event.xid))

    @cached_property
    def _ended_by(self) -> Mapping[tuple[int, int], Tenure]:
        return {
            (tenure.released.job_id, tenure.released.xid): tenure
            for tenure in self.leases.values()
            if tenure.released is not None
        }

    @cached_property
    def by_lease(self) -> Mapping[int, list[Handler]]:
        by_lease: defaultdict[int, list[Handler]] = defaultdict(list)
        for handlers in self.handlers.values():
            for handler in handlers:
                if handler.start.lease is not None:
                    by_lease[handler.start.lease].append(handler)
        return by_lease

    @cached_property
    def last_words(self) -> Mapping[str, int]:
        """When each process wrote its last record: it lived until then at least."""
        return {record.process: record.ns for record in self.records}

    @cached_property
    def injections(self) -> Sequence[Injection]:
        """What was injected, in order; those that could not be, or not be healed, are `failed`. Two windows of a fault
        may lie beside each other. What a fault tells of itself may come before the record of its window, which is
        written when it has struck."""
        injections: list[Injection] = []
        waiting: defaultdict[str, list[Record]] = defaultdict(list)
        windows: dict[tuple[str, object], Injection] = {}
        under_way: dict[str, Injection] = {}
        for record in self.of("fault"):
            fault, number = str(record.note.get("fault", "?")), record.note.get("window")
            if record.phase == "info":
                (under_way[fault].told if fault in under_way else waiting[fault]).append(record)
                continue
            one = windows.get((fault, number))
            if one is None or (number is None and one.outcome is not None):
                one = windows[fault, number] = Injection(fault, record, told=waiting.pop(fault, []))
                injections.append(one)
            if record.phase == "invoke":
                under_way[fault] = one
            else:
                one.healed = record.ns
                if not one.failed:
                    one.outcome = record
                if under_way.get(fault) is one:
                    del under_way[fault]
        return sorted(injections, key=attrgetter("began"))

    def faults_at(self, since: float, until: float, *, margin_seconds: float = 0.0) -> list[Injection]:
        """Those whose windows overlap this time (ns)."""
        margin = margin_seconds * 1e9
        first = bisect_left(self._began, since - margin - self._longest)
        last = bisect_right(self._began, until)
        return [one for one in self.injections[first:last] if one.healed + margin >= since]

    @cached_property
    def _began(self) -> Sequence[int]:
        return [one.began for one in self.injections]

    @cached_property
    def _longest(self) -> float:
        return max((one.healed - one.began for one in self.injections), default=0.0)

    def is_rewound(self, ns: int) -> bool:
        """Whether what was said yes to then may rightly be forgotten: the database has gone back in time since."""
        return any(since <= ns <= until for since, until in self._forgotten)

    def may_be_forgotten(self, ns: int) -> bool:
        """Of a lease: whether who held it then may have it of a server that is gone, which its successor knows nothing
        of, and whose id that has given out again."""
        return any(since <= ns <= until + _ZOMBIE_NS for since, until in self._forgotten)

    @cached_property
    def _forgotten(self) -> Sequence[tuple[int, int]]:
        return [tuple(record.note["forgets"]) for record in self.of("fault") if "forgets" in record.note]

    def decided(self, at: float) -> tuple[float, float]:
        """Between which times the clock stood by which the database decided what was traced then: dtsched.now(), which
        a fault may have moved. The trace is by the server's own clock."""
        ns, offsets = self.clock.ns(at) if self._moves else 0, {0.0}
        for since, until, seconds in self._moves:
            if since <= ns <= until + LATE_SECONDS * 1e9:
                offsets.add(seconds)
                if since + LATE_SECONDS * 1e9 <= ns <= until:
                    offsets.discard(0.0)
        return at + min(offsets), at + max(offsets)

    @cached_property
    def _moves(self) -> Sequence[tuple[int, int, float]]:
        return [tuple(record.note["moved"]) for record in self.of("fault") if "moved" in record.note]

    def phase_began(self, name: str) -> int | None:
        return next((record.ns for record in self.of("phase") if record.note.get("name") == name), None)

    @cached_property
    def ended(self) -> float:
        """When the time to drain was over, by the database's clock; or, of a run without one, when it was read last."""
        over = self.phase_began("check")
        return self.clock.at(over)[0] if over is not None else self.clock.last

    @cached_property
    def starts(self) -> Sequence[int]:
        """When handlers started (ns)."""
        return [record.ns for record in self.of("start")]

    @cached_property
    def served(self) -> Mapping[str, Sequence[int]]:
        """The queues of which a worker of the app has ever started a job, and when handlers of theirs started (ns)."""
        served: defaultdict[str, list[int]] = defaultdict(list)
        for start in self.of("start"):
            row = self.jobs.get(start.job or 0)
            if row is not None and start.role == "worker":
                served[row.queue].append(start.ns)
        return served

    def starts_between(self, since: int, until: int) -> int:
        return bisect_right(self.starts, until) - bisect_left(self.starts, since)

    @cached_property
    def reopened(self) -> frozenset[int]:
        """Jobs that somebody asked to retry by hand."""
        return frozenset(record.job for record in self.of("retry") if record.job is not None)

    def max_crashes(self, task: str) -> int:
        return self._max_crashes.get(task) or 3

    @cached_property
    def _max_crashes(self) -> Mapping[str, int | None]:
        return {task.name: task.max_crashes for task in self.state.tasks}

    def limit_of(self, limit_key: str, queue: str | None) -> int:
        """As dtsched.effective_limits() says."""
        concurrency = self._limits.get(limit_key)
        return concurrency if concurrency is not None else self._key_limits.get(queue or "") or 1

    @cached_property
    def _limits(self) -> Mapping[str, int | None]:
        return {limit.limit_key: limit.concurrency for limit in self.state.limits}

    @cached_property
    def _key_limits(self) -> Mapping[str, int | None]:
        return {queue.name: queue.key_limit for queue in self.state.queues}


def _pair(pulse: Record) -> Pair | None:
    return msgspec.convert(pulse.note["clock"], Pair) if "clock" in pulse.note else None

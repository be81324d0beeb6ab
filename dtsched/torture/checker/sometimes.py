"""What has to have happened so often for a run to have tried what it was to try. That it did not is no fault of the
product, and no pass either."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from dtsched.torture.checker.leases import rescued
from dtsched.torture.checker.outcomes import stale_outcomes
from dtsched.torture.checker.run import Run


class Sometimes(Struct, frozen=True, kw_only=True):
    """`because` of which faults or kinds of jobs it had to happen."""

    what: str
    wanted: int
    seen: int
    because: str

    @property
    def is_met(self) -> bool:
        return self.seen >= self.wanted


class _Wanted(Struct, frozen=True):
    what: str
    count: int
    faults: Collection[str]
    seen: Callable[[Run], int]


def sometimes(run: Run) -> list[Sometimes]:
    """What the plan's faults ask for, then what the kinds of jobs that were submitted do, then what any run does."""
    planned = {window.fault for window in run.plan.windows}
    found: list[Sometimes] = []
    for wanted in _OF_FAULTS:
        if because := sorted(planned & set(wanted.faults)):
            seen = wanted.seen(run)
            found.append(Sometimes(what=wanted.what, wanted=wanted.count, seen=seen, because=", ".join(because)))
    kinds = Counter(str(one.note["kind"]) for one in run.submissions.values() if "kind" in one.note)
    for kind, what, seen in _OF_KINDS:
        if kinds[kind]:
            found.append(Sometimes(what=what, wanted=1, seen=seen(run), because=kind))
    started = {start.key for start in run.of("start")}
    begun = Counter(
        str(one.note["kind"]) for key, one in run.submissions.items() if key in started and "kind" in one.note
    )
    for kind in sorted(kinds):
        found.append(Sometimes(what=f"a job of kind {kind} started", wanted=1, seen=begun[kind], because=kind))
    found.append(Sometimes(what="a submission was accepted", wanted=1, seen=_accepted(run), because="any run"))
    found.append(
        Sometimes(what="a job completed", wanted=1, seen=_moves(run, "running", "completed"), because="any run")
    )
    return found


def _accepted(run: Run) -> int:
    return sum(one.accepted is not None for one in run.submissions.values())


def _ambiguous(run: Run) -> int:
    """Acts that got no answer: of submitters and of workers over HTTP, also where a repetition found it out."""
    return sum(record.phase == "info" for op in ("submit", "finish", "cancel", "retry") for record in run.of(op))


def _moves(run: Run, from_state: str, to_state: str) -> int:
    return sum(event.from_state == from_state and event.to_state == to_state for event in run.state.job_events)


def _outages(run: Run) -> int:
    return sum(pulse.phase == "fail" for pulse in run.of("pulse"))


def _crash_caps(run: Run) -> int:
    return sum(job.crash_count >= run.max_crashes(job.task) for job in run.state.jobs)


def _requested(run: Run) -> int:
    return sum(event.cancel_requested for event in run.state.lease_events if event.kind == "released")


def _at_limit(run: Run) -> int:
    """Limit keys of more than one seat that were full at some time."""
    held: Counter[str] = Counter()
    full: set[str] = set()
    for event in run.state.lease_events:
        if event.limit_key is not None:
            held[event.limit_key] += 1 if event.kind == "granted" else -1
            limit = run.limit_of(event.limit_key, event.queue)
            if limit > 1 and held[event.limit_key] >= limit:
                full.add(event.limit_key)
    return len(full)


def _kept(run: Run) -> int:
    return sum(record.phase == "ok" and record.note.get("created") is False for record in run.of("submit"))


_OF_FAULTS: Sequence[_Wanted] = (
    _Wanted("a stale outcome was refused", 1, ("F05",), stale_outcomes),
    _Wanted("an answer was lost", 1, ("F19", "F20", "F42"), _ambiguous),
    _Wanted("a lease was reclaimed", 20, ("F01", "F04", "F05"), lambda run: len(rescued(run))),
    _Wanted("the database did not answer", 1, ("F19", "F20", "F21", "F22", "F26"), _outages),
    _Wanted("a job used up its crashes", 1, ("F08",), _crash_caps),
)
_OF_KINDS: Sequence[tuple[str, str, Callable[[Run], int]]] = (
    ("retrying", "a job was retried", lambda run: _moves(run, "running", "scheduled")),
    ("cancelled", "a job was told to stop while it ran", _requested),
    ("limited", "a limit was reached", _at_limit),
    ("dag", "a job waited for its parents", lambda run: _moves(run, "blocked", "ready")),
    ("delayed", "a job came due", lambda run: _moves(run, "scheduled", "ready")),
    ("unique", "a job was kept for its key", _kept),
)

"""Who may run before or beside whom: keys, parents, first come first served, and not too early."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from math import inf

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import ENDED, Run
from dtsched.torture.state import Event, Job

MARGIN_SECONDS = 1.0
"""For which a job has to have been ready before one that came later was claimed, to have been passed over by it."""


def unique(run: Run) -> Finding:
    """Of two jobs with one key the earlier one has ended before anything happens to the later one after its submission;
    of those whose key is kept there is one. A job that was told to give its key up holds it no more.

    (Its submission itself may be traced an instant before the other's end: a plain INSERT waits for the key only after
    its row is there.)"""
    book = Notebook("S8", "two holders of a key")
    kept = {
        asked["key"] for submission in run.submissions.values() if (asked := submission.unique)["key_for"] == "kept"
    }
    by_key: defaultdict[str, list[Job]] = defaultdict(list)
    for job in run.state.jobs:
        if job.key is not None:
            by_key[job.key].append(job)
    for key, jobs in by_key.items():
        book.checked += 1
        if key in kept and len(jobs) > 1:
            book.violation(f"{len(jobs)} jobs of a key that is kept", key=key, shown=jobs[:5])
            continue
        holds = sorted((hold for job in jobs for hold in _holds(run, job.id)), key=lambda hold: hold[0])
        latest: tuple[float, float, float, int] | None = None
        for hold in holds:
            if latest is not None and latest[1] > hold[2] and latest[3] != hold[3]:
                shown = [run.jobs[latest[3]], run.jobs[hold[3]], *run.events[hold[3]][:3]]
                book.violation(f"jobs {latest[3]} and {hold[3]} hold it at a time", job=hold[3], key=key, shown=shown)
            if latest is None or hold[1] > latest[1]:
                latest = hold
    return book.finding()


def _holds(run: Run, job: int) -> list[tuple[float, float, float, int]]:
    """From which event to which the job held its key, with the event that followed its beginning in a later transaction
    (infinite: there was none)."""
    holds: list[tuple[float, float, float, int]] = []
    events = run.events.get(job, [])
    given_up = next((one.granted.id for one in run.tenures.get(job, [])
                     if one.released is not None and one.released.gave_up_key), inf)  # fmt: skip
    began: Event | None = None
    for event in events:
        if began is None and event.to_state not in ENDED and event.to_state is not None:
            began = event
        elif began is not None and (event.to_state in ENDED or event.to_state is None):
            holds.append((began.id, min(event.id, given_up), _next(events, began), job))
            began = None
    if began is not None:
        holds.append((began.id, given_up, _next(events, began), job))
    return holds


def _next(events: Sequence[Event], began: Event) -> float:
    return next((event.id for event in events if event.id > began.id and event.xid != began.xid), inf)


def parents(run: Run) -> Finding:
    """A job is claimed only after each of its parents has completed, or was skipped; one that it may run in spite of
    (`run`) has ended. At the end, what depends on a job that has failed or was cancelled has ended too, unless it may
    run."""
    book = Notebook("S10", "children before their parents")
    for job in run.state.jobs:
        if not job.depends_on or job.policies is None:
            continue
        book.checked += 1
        begun = next((event for event in run.events.get(job.id, []) if event.to_state == "running"), None)
        for parent, policy in zip(job.depends_on, job.policies, strict=True):
            row = run.jobs.get(parent)
            if row is None:
                continue
            met = _met(run, row, policy)
            if begun is not None and met > begun.id:
                shown = [begun, *run.events.get(parent, [])[-3:]]
                book.violation(f"it ran before its parent {parent} ({policy})", job=job.id, key=job.name, shown=shown)
            failed = row.state in ("failed", "cancelled") and row.skipped is not True
            if failed and policy != "run" and job.state not in ("cancelled", "failed") and met == inf:
                book.violation(f"its parent {parent} is {row.state}, and it is {job.state}", job=job.id, key=job.name,
                               shown=[job, row])  # fmt: skip
    return book.finding()


def _met(run: Run, parent: Job, policy: str) -> float:
    """The event from which on the parent lets its child run."""
    for event in run.events.get(parent.id, []):
        if event.to_state == "completed" or (policy == "run" and event.to_state in ENDED):
            return event.id
        if event.to_state == "cancelled" and (parent.skipped or _may_have_been_skipped(run, parent)):
            return event.id
    return inf


def _may_have_been_skipped(run: Run, parent: Job) -> bool:
    """Once: somebody retried it since, which takes nothing back from children that were let run."""
    return parent.id in run.reopened and "skip" in (parent.policies or ())


def first_come(run: Run) -> Finding:
    """Of two jobs of one limit key that lets one run at a time, the one of the higher priority, or else the one that
    was submitted first, is claimed first: if it was accepted before the other was submitted, and had been ready for a
    second when the other was claimed. Other inversions are counted: ids are not in the order of commits."""
    book = Notebook("S11", "jobs passed over in their line")
    inversions = 0
    lines: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in run.state.jobs:
        if job.limit_key is not None and run.limit_of(job.limit_key, job.queue) == 1:
            lines[job.limit_key, job.queue].append(job)
    for line in lines.values():
        rows = {job.id: job for job in line}
        ready: dict[int, Event] = {}
        waiting: list[tuple[int, int]] = []  # in the order in which they are to be claimed
        for event in sorted((event for job in line for event in run.events.get(job.id, [])), key=lambda one: one.id):
            place = (-rows[event.job_id].priority, event.job_id)
            if ready.pop(event.job_id, None) is not None:
                del waiting[bisect_left(waiting, place)]
            if event.to_state == "ready":
                ready[event.job_id] = event
                insort(waiting, place)
            elif event.to_state == "running":
                book.checked += 1
                claimed = rows[event.job_id]
                for _, earlier in waiting[: bisect_left(waiting, place)]:
                    since = ready[earlier]
                    inversions += 1
                    if event.at - since.at >= MARGIN_SECONDS and _was_accepted_before(run, rows[earlier], claimed):
                        book.violation(f"job {earlier} was passed over", job=claimed.id, key=claimed.limit_key,
                                       shown=[since, event])  # fmt: skip
    book.note(f"inversions {inversions}")
    return book.finding()


def _was_accepted_before(run: Run, earlier: Job, later: Job) -> bool:
    before, after = run.submissions.get(earlier.name or ""), run.submissions.get(later.name or "")
    if before is None or after is None or before.accepted is None:
        return False
    return before.accepted.ns < after.invoked[0].ns


def not_early(run: Run) -> Finding:
    """By the database's clock alone, as each event was traced: what was promoted, or was ready from its submission on,
    was due. And by the submitter's: the first claim of a job that was delayed came no earlier than that. One that was
    replaced may have been claimed, and handed back, as what it was before."""
    book = Notebook("S12", "claimed before its time")
    for job, events in run.events.items():
        for event in events:
            promoted = event.to_state == "ready" and (event.who == "promote" or event.from_state is None)
            if promoted and event.run_at is not None:
                book.checked += 1
                if event.run_at > (latest := run.decided(event.at)[1]):
                    book.violation(f"ready {event.run_at - latest:.3f} s early", job=job, shown=[event])
        _after_its_delay(run, book, job, [event for event in events if event.to_state == "running"])
    return book.finding()


def _after_its_delay(run: Run, book: Notebook, job: int, claims: Sequence[Event]) -> None:
    row = run.jobs.get(job)
    submission = run.submissions.get((row.name if row is not None else None) or "")
    if submission is None or row is None or not submission.invoked:
        return
    delay, run_at = submission.note.get("delay"), submission.note.get("run_at")
    if delay is None and run_at is None:
        return
    asked, error = run.clock.at(submission.invoked[0].ns)
    begun = run.decided(asked - error)[0]
    due = begun + float(delay) if delay is not None else datetime.fromisoformat(str(run_at)).timestamp()
    replaces = submission.unique["on_conflict"] == "replace"
    claimed = next((event for event in claims if not replaces or event.at >= begun), None)
    if claimed is None:
        return
    book.checked += 1
    if claimed.at < due - 0.001:  # that it was due was decided before
        book.violation(f"claimed {due - claimed.at:.3f} s early", job=job, key=submission.key,
                       shown=[submission.invoked[0], claimed])  # fmt: skip


def waits(run: Run, since: float, until: float) -> list[float]:
    """How long the jobs that were claimed between these times (of the database) had been ready, in seconds; without
    those of limit keys, which wait for a seat."""
    limited = {job.id for job in run.state.jobs if job.limit_key is not None}
    ready: dict[int, float] = {}
    found: list[float] = []
    events = run.state.job_events
    for event in events:
        if event.to_state == "ready":
            ready[event.job_id] = event.at
        elif event.to_state == "running" and event.job_id in ready and event.job_id not in limited:
            if since <= event.at <= until:
                found.append(event.at - ready[event.job_id])
            del ready[event.job_id]
    return found

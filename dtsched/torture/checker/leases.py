"""Who held what when: leases of one job, and leases of one limit key."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import pairwise
from operator import attrgetter

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import AT_ITS_END, BY_ITS_WORKER, FORGOTTEN, LATE_SECONDS, Handler, Run, Tenure
from dtsched.torture.state import LeaseEvent, WorkerEvent

TIMEOUT_GRACE_SECONDS = 4.5
"""expire() takes a lease five seconds after its deadline at the soonest; the clock was read a little earlier."""
LISTED = 5
AFTERMATH_SECONDS = 20.0
"""A handler that runs on beside another one has a fault that ended at most so long ago to thank for it."""
BRIEF = frozenset({"F03", "F06", "F43", "F51"})
"""Each keeps workers from renewing for less than a lease; one after the other they may do so for longer."""


def exclusion(run: Run) -> Finding:
    """Of one job there is one lease at a time. It is granted to a worker that is not lost, and released by that
    worker; by rescue() when the worker is lost or has no row; by expire() when its deadline has passed by the grace;
    nobody else takes one. A worker is declared lost when it has expired, or by itself when it stops, and a renewal
    makes its leases valid for as long as they say (no less than half of that after it was traced).

    So a handler may run beside a later one only where its lease was taken away: these are listed with the faults of
    that time, and there is one among them that can bring this about. A worker that hands a job back when its grace is
    over may still be about to end."""
    book = Notebook("S5", "overlap under valid lease")
    held: dict[int, LeaseEvent] = {}
    for event in run.state.lease_events:
        if event.kind == "granted":
            book.checked += 1
            if event.job_id in held:
                book.violation("two leases at a time", job=event.job_id, shown=[held[event.job_id], event])
            held[event.job_id] = event
            if event.worker_lost_at is not None and event.worker_lost_at < run.decided(event.at)[0] - LATE_SECONDS:
                book.violation("granted to a worker that was lost", job=event.job_id, shown=[event])
        else:
            if held.get(event.job_id) is not None and held[event.job_id].lease_id == event.lease_id:
                del held[event.job_id]
            if (wrong := _wrongly_taken(run, event)) is not None:
                book.violation(wrong, job=event.job_id, shown=[event])
    _expiries(run, book)
    _handlers(run, book)
    return book.finding()


def _wrongly_taken(run: Run, event: LeaseEvent) -> str | None:
    match event.who:
        case None:
            return "a plain statement took the lease"
        case "rescue":
            lost = event.worker_expires_at is None or event.worker_lost_at is not None
            return None if lost else "rescued from a worker that was not lost"
        case "expire":
            latest = run.decided(event.at)[1]
            due = event.deadline is not None and event.deadline + TIMEOUT_GRACE_SECONDS <= latest
            return None if due else "taken before its deadline"
        case who if who in BY_ITS_WORKER or who in FORGOTTEN:
            return None
        case who:
            return f"{who}() took the lease"


def _expiries(run: Run, book: Notebook) -> None:
    for event in run.state.worker_events:
        book.checked += 1
        early = event.lost_at is not None and event.expires_at > event.lost_at
        if event.kind == "lost" and early and event.who not in BY_ITS_WORKER:
            book.violation("a worker was declared lost before it had expired", shown=[event])
        elif (
            event.kind in ("registered", "renewed") and event.expires_at < run.decided(event.at)[0] + 0.5 * event.lease
        ):
            book.violation("a lease was renewed for less than half of it", shown=[event])


def _handlers(run: Run, book: Notebook) -> None:
    blamed = Counter[str]()
    listed: list[str] = []
    handed_back = unknown = 0
    for job, handlers in run.handlers.items():
        # of one that was frozen before it could begin, the start is told after that of its successor
        for earlier, later in pairwise(sorted(handlers, key=lambda one: (one.start.lease or 0, one.start.ns))):
            if earlier.start.lease == later.start.lease or not _overlaps(run, earlier, later):
                continue
            tenure = run.leases.get(earlier.start.lease or 0)
            if tenure is None or tenure.released is None:
                forgotten = run.may_be_forgotten(earlier.start.ns)
                unknown += forgotten
                if not forgotten:
                    book.violation("two handlers, and the lease of the first was not over", job=job,
                                   shown=[earlier.start, later.start])  # fmt: skip
            elif tenure.taken:
                since, until = sorted((earlier.start.ns, later.start.ns))
                faults = run.faults_at(since, until, margin_seconds=AFTERMATH_SECONDS)
                causes = sorted({one.fault for one in faults if one.overlaps})
                brief = [one.fault for one in faults if one.fault in BRIEF]
                causes = causes or (sorted(set(brief)) if len(brief) > 1 else [])
                blamed.update(causes)
                listed.append(
                    f"job {job} {_seconds_beside(run, earlier, later):.1f} s ({', '.join(causes) or 'timeout'})"
                )
                if not causes and tenure.released.who != "expire":
                    book.violation("two handlers at a time, and no fault that would explain it", job=job,
                                   shown=[earlier.start, tenure.released, later.start])  # fmt: skip
            elif tenure.released.who in AT_ITS_END and earlier.end is not None and "return" not in earlier.outcomes:
                blamed["stubborn"] += 1
            elif tenure.released.who in AT_ITS_END and earlier.end is not None:
                book.violation("its lease was finished while its handler still ran", job=job,
                               shown=[earlier.start, tenure.released, later.start, *earlier.ends])  # fmt: skip
            else:
                handed_back += 1
    if blamed:
        said = ", ".join(f"{fault} {count}" for fault, count in sorted(blamed.items()))
        book.note(f"legal zombie overlaps, by the faults of their time: {said}")
    if listed:
        book.note(f"first of them: {'; '.join(listed[:LISTED])}")
    if handed_back:
        book.note(f"{handed_back} handlers still ran when their worker had handed their job back")
    if unknown:
        book.note(f"{unknown} overlaps of leases that the database has forgotten")


def _overlaps(run: Run, earlier: Handler, later: Handler) -> bool:
    return _seconds_beside(run, earlier, later) > 0


def _seconds_beside(run: Run, earlier: Handler, later: Handler) -> float:
    """Who wrote no end is taken to have run for as long as its process wrote anything."""
    ends = [run.last_words[one.start.process] if one.end is None else one.end.ns for one in (earlier, later)]
    return (min(ends) - max(earlier.start.ns, later.start.ns)) / 1e9


def limits(run: Run) -> Finding:
    """Of one limit key there are never more leases than its limit, of one queue never more than the queue's, and a
    worker over HTTP is never given one for which it has no slot. How much a worker in Python may fetch ahead of its
    slots nobody else can tell."""
    book = Notebook("S9", "leases over a limit")
    for what, allowed, events in _limited(run):
        book.checked += 1
        held: set[int] = set()
        most = 0
        for event in events:
            (held.add if event.kind == "granted" else held.discard)(event.lease_id)
            if len(held) > allowed and event.kind == "granted":
                book.violation(f"{len(held)} leases of {what}, which has {allowed}", job=event.job_id, shown=[event])
            most = max(most, len(held))
        if allowed > 1:
            book.note(f"{what}: at most {most} of {allowed}")
    _slots_over_http(run, book)
    return book.finding()


def _slots_over_http(run: Run, book: Notebook) -> None:
    """A release counts from when it was written, which is no later than when others saw it."""
    slots: dict[str, int] = {}
    held: defaultdict[str, set[int]] = defaultdict(set)
    for event in merge(run.state.worker_events, run.state.lease_events, key=attrgetter("id")):
        if isinstance(event, WorkerEvent):
            if event.who == "register_http_worker" or event.worker_id in slots:
                slots[event.worker_id] = event.slots
        elif event.kind == "released":
            held[event.worker_id].discard(event.lease_id)
        else:
            held[event.worker_id].add(event.lease_id)
            if (allowed := slots.get(event.worker_id)) is not None:
                book.checked += 1
                if len(held[event.worker_id]) > allowed:
                    said = f"{len(held[event.worker_id])} leases of a worker over HTTP, which has {allowed} slots"
                    book.violation(said, job=event.job_id, shown=[event])


def _limited(run: Run) -> Iterator[tuple[str, int, list[LeaseEvent]]]:
    by_key: defaultdict[str, list[LeaseEvent]] = defaultdict(list)
    by_queue: defaultdict[str, list[LeaseEvent]] = defaultdict(list)
    queues: Mapping[str, int] = {queue.name: queue.limit for queue in run.state.queues if queue.limit is not None}
    for event in run.state.lease_events:
        if event.limit_key is not None:
            by_key[event.limit_key].append(event)
        if event.queue in queues:
            by_queue[event.queue].append(event)
    for key, events in by_key.items():
        yield f"limit key {key}", run.limit_of(key, events[0].queue), events
    for queue, events in by_queue.items():
        yield f"queue {queue}", queues[queue], events


def rescued(run: Run) -> list[Tenure]:
    """Leases that were taken from a worker because it was lost."""
    return [one for one in run.leases.values() if one.released is not None and one.released.who == "rescue"]

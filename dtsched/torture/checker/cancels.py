"""What becomes of a job that somebody has cancelled."""

from bisect import bisect_left
from collections.abc import Mapping

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import Run
from dtsched.torture.checker.sums import in_words
from dtsched.torture.history import Record


def cancels(run: Run) -> Finding:
    """A job that was told cancelled while it waited never starts after that; one that was asked to stop while it ran
    ends cancelled, and starts no more; one that was told finished had ended. Unless somebody retried it since. How long
    handlers took to hear of it is a figure."""
    book = Notebook("S14", "cancelled jobs that went on")
    retried: Mapping[int, int] = {record.job: record.ns for record in run.of("retry") if record.job is not None}
    noticed: list[float] = []
    for record in run.of("cancel"):
        if record.phase != "ok" or record.job is None or run.is_rewound(record.ns):
            continue
        outcome = record.note.get("outcome")
        if outcome not in ("cancelled", "requested", "finished") or retried.get(record.job, 0) > record.ns:
            continue
        book.checked += 1
        row = run.jobs.get(record.job)
        late = _started_after(run, record)
        if late is not None:
            book.violation(f"it was {outcome}, and has started", job=record.job, key=record.key, shown=[record, late])
        elif row is not None and row.state not in _ENDS[outcome]:
            book.violation(f"it was {outcome}, and is {row.state}", job=record.job, key=record.key,
                           shown=[record, row, *run.events.get(row.id, [])[-3:]])  # fmt: skip
        if outcome == "requested":
            handlers = run.handlers.get(record.job, [])
            end = next((one.end for one in handlers if one.end is not None and one.end.ns > record.ns), None)
            if end is not None and end.note.get("outcome") == "cancelled":
                noticed.append((end.ns - record.ns) / 1e9)
    if noticed:
        book.note(f"handlers heard of it after p50/p99/max {in_words(noticed)} s")
    return book.finding()


_ENDS: Mapping[str, tuple[str, ...]] = {
    "cancelled": ("cancelled",),
    "requested": ("cancelled",),
    "finished": ("completed", "failed", "cancelled"),
}


def _started_after(run: Run, cancelled: Record) -> Record | None:
    """A handler of a lease that was granted after the answer. One of a lease that was granted before may start a little
    later, and is stopped; so what counts is the claim, by the database's clock."""
    at, error = 0.0, 0.0
    handlers = run.handlers.get(cancelled.job or 0, [])
    first = bisect_left(handlers, cancelled.ns, key=lambda handler: handler.start.ns)
    for handler in handlers[first:]:
        tenure = run.leases.get(handler.start.lease or 0)
        if not at:
            at, error = run.clock.at(cancelled.ns)
        if tenure is None or tenure.granted.at > at + error:
            return handler.start
    return None

"""What may become of a job: one accepted outcome, by the lease that is the last, over edges that exist."""

from math import inf

from dtsched.torture.checker.edges import EDGES
from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import AT_ITS_END, BY_ITS_WORKER, ENDED, Run
from dtsched.torture.state import Event, Job


def single_outcome(run: Run) -> Finding:
    """A job ends once, and once more for each time that it was brought back; one that has ended does not end again. One
    that is completed was so by a handler that has returned."""
    book = Notebook("S3", "double accepted outcomes")
    for job, events in run.events.items():
        book.checked += 1
        ends = 0
        for event in events:
            if event.from_state in ENDED and event.to_state in ENDED:
                book.violation("it had ended, and has ended again", job=job, shown=events[-6:])
                break
            ends += (event.to_state in ENDED) - (event.from_state in ENDED and event.to_state is not None)
            if ends > 1:
                book.violation("it has ended twice", job=job, shown=events[-6:])
                break
        _returned(run, book, events)
    return book.finding()


def _returned(run: Run, book: Notebook, events: list[Event]) -> None:
    for event in events:
        if event.to_state != "completed" or event.from_state != "running":
            continue
        tenure = run.tenure_ended_by(event)
        if tenure is None:
            continue  # S4's
        handlers = run.by_lease.get(tenure.granted.lease_id, [])
        if not any("return" in handler.outcomes for handler in handlers):
            shown = [event, *(record for handler in handlers for record in (handler.start, *handler.ends))]
            book.violation("it is completed, and its handler has not returned", job=event.job_id, shown=shown)


def fencing(run: Run) -> Finding:
    """Each claim grants one lease, with an id that is greater than those of all earlier ones of its job; a job leaves
    `running` only in a transaction that releases its newest lease, and a worker over HTTP is told that its outcome was
    accepted only where its own lease was the one. Stale outcomes that were refused are counted."""
    book = Notebook("S4", "outcomes of stale leases")
    granted: dict[int, int] = {}
    newest: dict[int, int] = {}
    for event in run.state.lease_events:
        if event.kind == "granted":
            book.checked += 1
            if event.lease_id in granted:
                book.violation(f"lease {event.lease_id} was granted twice", job=event.job_id, shown=[event])
            elif event.lease_id <= newest.get(event.job_id, 0):
                book.violation("a later lease has a smaller id", job=event.job_id, shown=[event])
            granted[event.lease_id] = event.job_id
            newest[event.job_id] = event.lease_id
    for job, events in run.events.items():
        grants = {tenure.granted.xid for tenure in run.tenures.get(job, [])}
        for event in events:
            if event.to_state == "running" and event.xid not in grants:
                book.violation("it runs, and no lease was granted", job=job, shown=[event])
            if event.from_state == "running":
                _fenced(run, book, event)
    for finish in run.of("finish"):
        if finish.phase == "ok" and finish.lease is not None and not run.may_be_forgotten(finish.ns):
            tenure = run.leases.get(finish.lease)
            released = None if tenure is None else tenure.released
            if released is None or released.who != "finish_lease":
                shown = [finish, *([released] if released else [])]
                book.violation("it was told accepted, and its lease was taken away", job=finish.job, shown=shown)
    refused = stale_outcomes(run)
    book.note(f"stale outcomes refused: {refused}")
    return book.finding()


def _fenced(run: Run, book: Notebook, event: Event) -> None:
    tenure = run.tenure_ended_by(event)
    if tenure is None:
        book.violation("it left running, and no lease of its own was released", job=event.job_id, shown=[event])
        return
    later = [one for one in run.tenures[event.job_id] if tenure.granted.id < one.granted.id < event.id]
    if later:
        book.violation("an outcome of a stale lease was accepted", job=event.job_id, shown=[event, later[-1].granted])


def stale_outcomes(run: Run) -> int:
    """Handlers that came to their end after their lease had been taken away, over HTTP those that were told so."""
    count = sum(1 for finish in run.of("finish") if finish.phase == "fail")
    for handlers in run.by_lease.values():
        for handler in handlers:
            tenure = run.leases.get(handler.start.lease or 0)
            if handler.end is None or handler.start.role == "http_worker" or tenure is None or tenure.released is None:
                continue
            at, error = run.clock.at(handler.end.ns)
            count += tenure.taken and at - error > tenure.released.at
    return count


def starts(run: Run) -> Finding:
    """Each claim counts an attempt, none goes beyond max_attempts, and one is given back only by a handler that snoozed
    or never started; so a crash costs one. A handler is told the attempt that its claim counted, and what it was to do
    in that it does: none returns that was to fail. No lease starts two handlers, no job crashes more workers than its
    task may. One that is replaced begins anew, also where its state stays what it was."""
    book = Notebook("S6", "attempts not counted")
    for job, events in run.events.items():
        row = run.jobs.get(job)
        known: int | None = None
        since = 0.0
        for event in events:
            if event.to_state == "running":
                book.checked += 1
                counted = known is None or event.attempt == known + 1
                if not counted and not (event.attempt == 1 and _may_be_replaced(run, row, since, event.at)):
                    book.violation(f"attempt {event.attempt} came after {known}", job=job, shown=[event])
                if row is not None and event.attempt > row.max_attempts:
                    book.violation(f"attempt {event.attempt} of {row.max_attempts}", job=job, shown=[event, row])
            elif event.from_state == "running" and known is not None and event.attempt != known:
                _given_back(run, book, event, known)
            known, since = event.attempt, event.at
        if row is not None and row.crash_count > run.max_crashes(row.task):
            book.violation(f"it has crashed {row.crash_count} workers", job=job, key=row.name, shown=[row])
    _as_told(run, book)
    for lease, handlers in run.by_lease.items():
        if len(handlers) > 1 and not any(run.may_be_forgotten(one.start.ns) for one in handlers):
            shown = [handler.start for handler in handlers]
            book.violation(f"lease {lease} has started {len(handlers)} handlers", job=shown[0].job, shown=shown)
    return book.finding()


def _may_be_replaced(run: Run, job: Job | None, since: float, until: float) -> bool:
    """Whether a submission that replaces the job of its key was under way in this time."""
    key = None if job is None else job.key
    for submission in run.submissions.values():
        if key is None or submission.unique["on_conflict"] != "replace" or submission.unique["key"] != key:
            continue
        begun, error = run.clock.at(submission.invoked[0].ns)
        ended = run.clock.at(submission.answered[-1].ns)[0] if submission.answered else inf
        if begun - error <= until and ended + error >= since:
            return True
    return False


def _as_told(run: Run, book: Notebook) -> None:
    counted = {
        (event.job_id, event.xid): event.attempt for event in run.state.job_events if event.to_state == "running"
    }
    for lease, handlers in run.by_lease.items():
        tenure = run.leases.get(lease)
        for handler in handlers:
            start = handler.start
            attempt = None if tenure is None else counted.get((tenure.granted.job_id, tenure.granted.xid))
            if attempt is not None and start.attempt not in (None, attempt) and not run.may_be_forgotten(start.ns):
                book.violation(f"attempt {attempt} was told that it is {start.attempt}", job=start.job, key=start.key,
                               shown=[start])  # fmt: skip
            if run.behaviour is None or start.key is None or start.attempt is None:
                continue
            act = run.behaviour(run.plan.seed, start.key, start.attempt).act
            if act in ("raise", "retry", "fail") and "return" in handler.outcomes:
                book.violation(f"it was to {act}, and has returned", job=start.job, key=start.key,
                               shown=[start, *handler.ends])  # fmt: skip


def _given_back(run: Run, book: Notebook, event: Event, known: int) -> None:
    tenure = run.tenure_ended_by(event)
    if tenure is None or tenure.released is None:
        return  # S4's
    handlers = run.by_lease.get(tenure.granted.lease_id, [])
    snoozed = tenure.released.who in AT_ITS_END and any("snooze" in handler.outcomes for handler in handlers)
    never_started = not handlers and tenure.released.who in BY_ITS_WORKER
    if event.attempt != known - 1 or not (snoozed or never_started):
        shown = [event, tenure.released, *(handler.start for handler in handlers)]
        book.violation(f"attempt {known} became {event.attempt}", job=event.job_id, shown=shown)


def edges(run: Run) -> Finding:
    """Each change of a state is an edge of schema/README.md, begins where the one before ended, was made by a function
    of dtsched, and all of a job's changes together lead to the state that its row has."""
    book = Notebook("S7", "changes of state that are no edge")
    for job, events in run.events.items():
        state: str | None = None
        for event in events:
            book.checked += 1
            if (event.from_state, event.to_state) not in EDGES:
                book.violation(f"{event.from_state} → {event.to_state} is no edge", job=job, shown=[event])
            elif event.from_state != state:
                book.violation(f"it was {state}, and left {event.from_state}", job=job, shown=[event])
            elif event.who is None and event.from_state is not None:
                book.violation("a plain statement has changed its state", job=job, shown=[event])
            state = event.to_state
        row = run.jobs.get(job)
        if state != (None if row is None else row.state):
            held = "gone" if row is None else row.state
            book.violation(f"its changes lead to {state}, and it is {held}", job=job, shown=events[-3:])
    for job in run.jobs.keys() - run.events.keys():
        book.violation("no change of state was traced for it", job=job, shown=[run.jobs[job]])
    return book.finding()

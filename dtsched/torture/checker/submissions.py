"""Between what was submitted and what is there: nothing is lost, invented or changed."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import Run, Submission
from dtsched.torture.history import Record
from dtsched.torture.state import Job

_REFUSED = re.compile(
    r"(400|403|404|413|415|422) |InvalidInput|DataError|Unicode|CheckViolation|InvalidTextRepresentation|NumericValue"
    r"|DatetimeFieldOverflow|ProgramLimitExceeded|StatementTooComplex|UntranslatableCharacter|StringDataRight"
)
"""How the error of a submission begins that was refused for what it said."""
DO_NOT_WAIT = frozenset({"F39"})
"""Faults under which a session's commits do not wait for the disk, where nothing of ours says otherwise."""


def no_loss(run: Run) -> Finding:
    """A submission that was accepted is there as exactly one row of its name, with the id that was told; one that was
    refused is not; of one that got no answer there is at most one. A job that was kept for its key, or whose row
    another has replaced under its key, only has to be there. A row that prune() has deleted was there.

    What a failover without synchronous replication or a restored backup took back is counted apart, and so are plain
    INSERTs of sessions that had been told not to wait for the disk."""
    book = Notebook("S1", "acked submissions lost")
    ambiguous = Counter[bool]()
    taken_back = unwritten = 0
    for submission in run.submissions.values():
        book.checked += 1
        rows = run.named.get(submission.key, [])
        problem = _loss(run, submission, rows)
        if problem is not None:
            accepted = submission.accepted
            if accepted is not None and not rows and run.is_rewound(accepted.ns):
                taken_back += 1
                continue
            if accepted is not None and not rows and _did_not_wait(run, submission, accepted):
                unwritten += 1
                continue
            shown = [*submission.invoked[:3], *submission.answered[:3], *rows[:3]]
            book.violation(problem, job=submission.job, key=submission.key, shown=shown)
        elif submission.ambiguous:
            ambiguous[bool(rows)] += 1
    if ambiguous:
        book.note(f"ambiguous {ambiguous.total()}: {ambiguous[True]} present, {ambiguous[False]} absent")
    if taken_back:
        book.note(f"{taken_back} were lost by a failover without synchronous replication, or by a restored backup")
    if unwritten:
        book.note(f"{unwritten} were plain INSERTs whose commits did not wait for the disk")
    return book.finding()


def _did_not_wait(run: Run, submission: Submission, accepted: Record) -> bool:
    return submission.note.get("way") == "insert" and any(
        one.fault in DO_NOT_WAIT for one in run.faults_at(accepted.ns, accepted.ns)
    )


def _loss(run: Run, submission: Submission, rows: Sequence[Job]) -> str | None:
    told = {record.job for record in submission.answered if record.phase == "ok" and record.job is not None}
    if len(rows) > 1:
        return f"{len(rows)} rows carry this name"
    if submission.accepted is None:
        return "it was refused, and is there" if rows and not submission.ambiguous else None
    if len(told) > 1:
        return f"several jobs were told for it: {sorted(told)}"
    if not rows:
        job = submission.job
        known = job is not None and (job in run.jobs if _is_contended(submission) else _was_deleted(run, job))
        return None if known else "it was accepted, and is not there"
    if told and rows[0].id not in told:
        return f"job {rows[0].id} carries its name, and {sorted(told)[0]} was told"
    return None


def _is_contended(submission: Submission) -> bool:
    """Its key is wanted by others too, so that its job may be somebody else's."""
    return submission.unique["key"] not in (None, submission.key)


def _was_deleted(run: Run, job: int) -> bool:
    events = run.events.get(job)
    return bool(events) and events[-1].to_state is None


def no_invention(run: Run) -> Finding:
    """Each row has the name of a submission that was tried, or is the job of a tick."""
    book = Notebook("S2", "rows nobody submitted")
    ticks = {tick.job_id for tick in run.state.ticks}
    for job in run.state.jobs:
        book.checked += 1
        if job.name not in run.submissions and job.id not in ticks:
            book.violation(
                "nobody submitted it", job=job.id, key=job.name, shown=[job, *run.events.get(job.id, [])[:3]]
            )
    return book.finding()


def twins(run: Run) -> Finding:
    """What a user wrote in the transaction that submitted a job is there if and only if the job is; what a handler
    wrote in the transaction that completed one is there once if the job is completed, of the lease that completed it,
    and else not."""
    book = Notebook("S15", "transactional twins that differ")
    written = Counter(twin.key for twin in run.state.outbox)
    keys = [key for key, submission in run.submissions.items() if submission.note.get("door") == "outbox"]
    for key in dict.fromkeys([*written, *keys]):
        book.checked += 1
        rows = run.named.get(key, [])
        if written[key] != len(rows):
            book.violation(f"{written[key]} rows of its user's table and {len(rows)} jobs", key=key, shown=rows[:3])
    effects = Counter(effect.job_id for effect in run.state.effects)
    leases = {effect.job_id: effect.lease_id for effect in run.state.effects}
    for job in run.state.jobs:
        if job.task != "complete_in" and job.id not in effects:
            continue
        book.checked += 1
        wanted = int(job.state == "completed")
        if effects[job.id] != wanted:
            book.violation(f"{job.state}, and its effect is there {effects[job.id]} times", job=job.id, key=job.name)
        elif wanted and leases[job.id] != (completing := completing_lease(run, job.id)):
            book.violation(f"the effect is of lease {leases[job.id]}, the completion of {completing}", job=job.id)
    return book.finding()


def completing_lease(run: Run, job: int) -> int | None:
    for event in reversed(run.events.get(job, [])):
        if event.to_state == "completed":
            tenure = run.tenure_ended_by(event)
            return None if tenure is None else tenure.granted.lease_id
    return None


def unchanged(run: Run) -> Finding:
    """What a handler was given is what was submitted, by its digest; and the result in the row is what the handler
    whose outcome was accepted had returned."""
    book = Notebook("S16", "args and results that changed")
    for start in run.of("start"):
        submission = run.submissions.get(start.key or "")
        sent = submission.invoked[0].digest if submission is not None and submission.invoked else None
        if sent is not None and start.digest is not None:
            book.checked += 1
            if start.digest != sent and submission is not None:
                book.violation("a handler was given other args", job=start.job, key=start.key,
                               shown=[submission.invoked[0], start])  # fmt: skip
    if run.digest is None:
        book.note("results were not looked at: no digest was given")
        return book.finding()
    for job in run.state.jobs:
        if job.state != "completed":
            continue
        for handler in run.by_lease.get(completing_lease(run, job.id) or 0, []):
            returned = {end.note["result"] for end in handler.ends if "result" in end.note}
            if returned and handler.start.job == job.id:
                book.checked += 1
                if run.digest(json.loads(bytes(job.result))) not in returned:
                    book.violation("its result is not what was returned", job=job.id, key=job.name,
                                   shown=[*handler.ends, job])  # fmt: skip
    return book.finding()


def allowed(run: Run) -> Finding:
    """What had to be refused was not accepted, and what had to be accepted was not refused as bad input; and a fault
    that tried what a role may not do has got nothing done: it says how much it `tried`, and what was `accepted`."""
    book = Notebook("S17", "acts nobody may do")
    for submission in run.submissions.values():
        must = submission.note.get("must")
        if must is None or not submission.answered:
            continue
        book.checked += 1
        refusal = next(
            (record for record in submission.answered if record.phase == "fail" and _is_refusal(record.note)), None
        )
        if must == "refuse" and submission.accepted is not None:
            book.violation("it had to be refused", job=submission.job, key=submission.key,
                           shown=[submission.invoked[0], submission.accepted])  # fmt: skip
        elif must == "accept" and refusal is not None:
            book.violation("it had to be accepted", key=submission.key, shown=[submission.invoked[0], refusal])
    for record in run.of("fault"):
        if "tried" in record.note:
            accepted: list[str] = record.note.get("accepted", [])
            book.checked += int(record.note["tried"])
            for act in accepted:
                book.violation(f"let through: {act}", shown=[record])
    return book.finding()


def _is_refusal(note: Mapping[str, object]) -> bool:
    """As bad input: nothing that an outage may bring about."""
    return _REFUSED.match(str(note.get("error", ""))) is not None

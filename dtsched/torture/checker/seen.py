"""What faults have seen with their own eyes, and must not be."""

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import Run

WHATEVER_ELSE = frozenset({"F12", "F46"})
"""What these see, no other fault can have brought about."""


def seen(run: Run) -> Finding:
    """No fault has seen anything `wrong` that it must not: jobs that a worker held when it had taken its leave, effects
    of a handler's child after its worker was killed, locks that a session left in a pooler, submissions that were
    refused for a queue of notifications. Where another fault was at work it may be that one's doing, and is counted."""
    book = Notebook("SEEN", "what faults saw and must not be")
    beside = 0
    for injection in run.injections:
        told = [record for record in injection.told if "wrong" in record.note]
        for record in told:
            book.checked += 1
            others = [one for one in run.faults_at(injection.began, record.ns) if one is not injection]
            if others and injection.fault not in WHATEVER_ELSE:
                beside += bool(record.note["wrong"])
                continue
            for what in record.note["wrong"]:
                book.violation(f"{injection.fault}: {what}", shown=[record])
    if beside:
        book.note(f"{beside} times beside other faults")
    return book.finding()

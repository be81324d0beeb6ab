"""What each planned fault has struck, and how the jobs that it struck went on."""

from collections.abc import Collection, Iterable
from math import inf

from msgspec import Struct

from dtsched.torture.checker.findings import Finding
from dtsched.torture.checker.run import AT_ITS_END, Injection, Run, Tenure
from dtsched.torture.checker.sums import in_words, percentile

ENOUGH = 20
"""A planned fault with fewer exposures says nothing."""


_NO_FIGURES = frozenset({"window", "began_ns", "struck"})


class Exposed(Struct, frozen=True, kw_only=True):
    """Of one fault. An exposure is a job that was in flight where it struck, or an act that it has met; `duplicated` of
    the jobs were started a second time, `lost` are those of which an invariant says so. `recovery` is p50, p99 and the
    longest of the seconds until a job that it struck went on: started anew, or came to its end."""

    fault: str
    planned: int
    injected: int
    exposed: int
    duplicated: int
    lost: int
    recovery: tuple[float, float, float] | None
    notes: list[str]

    @property
    def is_conclusive(self) -> bool:
        return self.exposed >= ENOUGH


def exposures(run: Run, findings: Iterable[Finding]) -> list[Exposed]:
    """One for each fault of the plan, in the order of their numbers."""
    lost = {
        violation.job
        for finding in findings
        if finding.name in ("S1", "L1")
        for violation in finding.violations
        if violation.job is not None
    }
    planned = sorted({window.fault for window in run.plan.windows} | {one.fault for one in run.injections})
    return [_exposed(run, fault, lost) for fault in planned]


def _exposed(run: Run, fault: str, lost: Collection[int]) -> Exposed:
    windows = sum(window.fault == fault for window in run.plan.windows)
    injections = [one for one in run.injections if one.fault == fault]
    injected = [one for one in injections if not one.failed]
    struck = [(one, job) for one in injected for job in one.jobs]
    fates = [_fate(run, one, job) for one, job in struck]
    seconds = [after for _, after in fates if after is not None]
    notes = [
        str(one.outcome.note.get("error", "could not be injected")) for one in injections if one.failed and one.outcome
    ]
    return Exposed(
        fault=fault,
        planned=windows,
        injected=len(injected),
        exposed=sum(one.exposed for one in injected),
        duplicated=sum(duplicated for duplicated, _ in fates),
        lost=len({job for _, job in struck} & set(lost)),
        recovery=(percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)) if seconds else None,
        notes=list(dict.fromkeys([*notes, *_told(injected)])),
    )


def _fate(run: Run, injection: Injection, job: int) -> tuple[bool, float | None]:
    """Whether it was started a second time because its first lease was taken or handed back, and after how many seconds
    it went on; None: it did not, or had ended already."""
    struck = injection.record.ns
    tenure = _in_flight(run, injection, job)
    lease = None if tenure is None else tenure.granted.lease_id
    later = next(
        (one.start for one in run.handlers.get(job, []) if one.start.ns > struck and one.start.lease != lease), None
    )
    began = any(one.start.ns <= struck or one.start.lease == lease for one in run.by_lease.get(lease or 0, []))
    over = None if tenure is None else tenure.released
    if over is not None and over.who in AT_ITS_END:
        ends = (one.end.ns for one in run.by_lease.get(lease or 0, []) if one.end is not None)
        end = max(ends, default=0)
        return False, (end - struck) / 1e9 if end > struck else None
    if later is None:
        return False, None
    return began and tenure is not None, (later.ns - struck) / 1e9


def _in_flight(run: Run, injection: Injection, job: int) -> Tenure | None:
    """The lease that it was held under when the fault struck."""
    at, error = run.clock.at(injection.record.ns)
    for tenure in reversed(run.tenures.get(job, [])):
        released = inf if tenure.released is None else tenure.released.at
        if tenure.granted.at <= at + error and released >= at - error:
            return tenure
    return None


def _told(injections: Iterable[Injection]) -> list[str]:
    """The figures that faults had to say of themselves, over all their windows."""
    sums: dict[str, list[float]] = {}
    for injection in injections:
        for record in (*injection.told, *([injection.outcome] if injection.outcome is not None else [])):
            for name, value in record.note.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _NO_FIGURES:
                    sums.setdefault(name, []).append(float(value))
    return [
        f"{name} {in_words(values) if len(values) > 1 else f'{values[0]:g}'}" for name, values in sorted(sums.items())
    ]

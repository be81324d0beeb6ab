"""What has to happen in time, once the faults are over; and figures of how long it took while they were not."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.order import waits
from dtsched.torture.checker.run import ENDED, Injection, Run, Tenure
from dtsched.torture.checker.sums import in_words, percentile
from dtsched.torture.history import Record
from dtsched.torture.state import Job, LeaseEvent

RESCUE_MARGIN_SECONDS = 3.0
"""B, in which an orphan runs again, is the lease and this."""
LAST_SECONDS = 3.0
RATE_SECONDS = 5.0
"""In which nine tenths of the rate are back after a restart of the database."""
DEAF_SECONDS = 15.0
RESTARTS = frozenset({"F19", "F20", "F21", "F22", "F23", "F25", "F26"})
WITHOUT_NOTIFY = frozenset({"F18", "F27", "F29"})
PICK_UP_SECONDS = 6.0
"""In which a queue with ready jobs is looked at while nobody hears a NOTIFY: the second of a run's poll, and five."""
LISTEN_SECONDS = 30.0
"""In which every worker listens again once the faults are over. One whose connection has fallen silent notices after 15
seconds without a word and 5 without an answer, and tries to open another one every 5."""
POOLED_SECONDS = 60.0
"""A worker that has met a pooler looks whether it is still there after so long."""
POOLERS = frozenset({"F46"})
HOLD_ROWS = frozenset({"F31"})
"""Faults that hold the rows of the jobs that they name, and are no excuse for others."""
POISON_SECONDS = 10.0
NO_DATABASE = 6
"""The exit code of a program that found no database."""
_WINDOW_SECONDS = 1.0


def drained(run: Run) -> Finding:
    """When the time to drain is over, no job is left that is due, each has ended as its submitter expected, and
    dtsched.check() finds nothing wrong. What came due in the last few seconds is only counted: schedules go on."""
    book = Notebook("L1", "jobs that did not end as expected")
    over = run.phase_began("check") or (run.records[-1].ns if run.records else 0)
    end, _ = run.clock.at(over)
    late = 0
    for job in run.state.jobs:
        book.checked += 1
        submission = run.submissions.get(job.name or "")
        expected: Sequence[str] = (submission.note.get("expect") if submission is not None else None) or tuple(ENDED)
        if job.state in expected or (job.state == "scheduled" and (job.run_at or 0) > end):
            continue
        if job.state not in ENDED and _came(run, job) > end - LAST_SECONDS:
            late += 1
        else:
            shown = [job, *run.events.get(job.id, [])[-5:]]
            book.violation(f"{job.state} instead of {' or '.join(expected)}", job=job.id, key=job.name, shown=shown)
    if late:
        book.note(f"{late} came due in the last {LAST_SECONDS:g} s")
    for problem in run.state.problems:
        book.violation(f"{problem.invariant}: {problem.detail}", job=problem.job_id, shown=[problem])
    return book.finding()


def _came(run: Run, job: Job) -> float:
    """When it came due for the first time."""
    return next((event.at for event in run.events.get(job.id, []) if event.to_state == "ready"), job.created_at)


def restart_rate(run: Run) -> Finding:
    """Nine tenths of the baseline's rate, or an empty queue, within five seconds of the first answer of a database that
    was restarted; where no other fault begins before that."""
    book = Notebook("L2", "slow after a restart of the database")
    pulses = [pulse for pulse in run.of("pulse") if pulse.phase == "ok"]
    baseline = _baseline_rate(run, pulses)
    took: list[float] = []
    for injection in run.injections:
        if injection.fault not in RESTARTS or injection.failed:
            continue
        back = _first_answer(run, injection)
        if back is None or baseline is None:
            continue
        recovered = _recovered(pulses, back, 0.9 * baseline)
        until = back + RATE_SECONDS * 1e9 if recovered is None else recovered
        if any(other is not injection for other in run.faults_at(back, until)):
            continue
        book.checked += 1
        took.append((until - back) / 1e9)
        if recovered is None or took[-1] > RATE_SECONDS:
            said = "never again" if recovered is None else f"after {took[-1]:.1f} s"
            book.violation(f"the rate was back {said}", shown=[injection.record])
    if took:
        book.note(f"p50/p99/max {in_words(took)} s")
    if baseline is not None:
        book.note(f"baseline {baseline:.0f} jobs/s")
    return book.finding()


def _baseline_rate(run: Run, pulses: Sequence[Record]) -> float | None:
    """Jobs that ended a second, from a second after the beginning of the baseline to its end."""
    since, until = run.phase_began("baseline"), run.phase_began("storm")
    if since is None or until is None:
        return None
    inside = [pulse for pulse in pulses if since + 1e9 <= pulse.ns <= until]
    return _rate(inside[0], inside[-1]) if len(inside) > 1 else None


def _rate(first: Record, last: Record) -> float:
    seconds = (last.ns - first.ns) / 1e9
    return (_finished(last) - _finished(first)) / seconds if seconds > 0 else 0.0


def _finished(pulse: Record) -> int:
    return int(pulse.note.get("finished", 0))


def _first_answer(run: Run, injection: Injection) -> int | None:
    """When the database first answered again: after the last pulse of its window that failed, else after it healed."""
    failures = [pulse.ns for pulse in run.of("pulse")
                if pulse.phase == "fail" and injection.record.ns <= pulse.ns <= injection.healed + 30e9]  # fmt: skip
    since = max([int(min(injection.healed, 2**62)), *failures[-1:]])
    return next((pulse.ns for pulse in run.of("pulse") if pulse.phase == "ok" and pulse.ns >= since), None)


def _recovered(pulses: Sequence[Record], since: int, wanted: float) -> int | None:
    """The first pulse after which so many jobs a second have ended for a second, or where nothing is due."""
    times = [pulse.ns for pulse in pulses]
    for number in range(bisect_left(times, since), len(pulses)):
        pulse = pulses[number]
        before = pulses[max(0, bisect_right(times, pulse.ns - _WINDOW_SECONDS * 1e9) - 1)]
        if before.ns >= since and _rate(before, pulse) >= wanted:
            return before.ns
        if pulse.ns > since and not pulse.note.get("due", 1):
            return pulse.ns
    return None


def orphans(run: Run) -> Finding:
    """A job whose worker was killed runs again within B, the lease and three seconds, of the kill. One that others of
    its queue are before, of a higher priority or ready when it was not yet, is rescued within B, and claimed within
    three seconds of the last of them; one that waits for a seat of its limit key, or while somebody holds rows, is
    rescued within B. This looks at faults that kill a worker and the jobs that they say it had, where no other fault
    that may hinder them is at work from the kill to then."""
    book = Notebook("L3", "orphans that waited")
    bound = run.plan.lease_seconds + RESCUE_MARGIN_SECONDS
    took: list[float] = []
    beside = behind = 0
    for injection, job in ((one, job) for one in run.injections if one.fault in KILLS for job in one.jobs):
        orphaned = None if injection.failed else orphaned_by(run, injection, job)
        if orphaned is None or orphaned.released is None:
            continue
        struck = injection.record.ns
        handlers = run.handlers.get(job, [])
        anew = (one.start for one in handlers if one.start.lease != orphaned.granted.lease_id)
        start = next((start for start in anew if start.ns > struck), None)
        until = start.ns if start is not None else struck + bound * 1e9
        if any(other is not injection and _may_hinder(run, other, job) for other in run.faults_at(struck, until)):
            beside += 1
            continue
        if start is None and (row := run.jobs.get(job)) is not None and row.state in ENDED:
            continue  # its crashes, or its attempts, were used up
        book.checked += 1
        seconds = (until - struck) / 1e9
        late = start is None or seconds > bound
        if late and _waited_its_turn(run, orphaned, struck, until, bound):
            behind += 1
            continue
        took.append(seconds)
        if late:
            shown = [injection.record, *([start] if start else []), *run.events.get(job, [])[-4:]]
            said = f"after {seconds:.1f} s" if start else "never"
            book.violation(f"it ran again {said}, the bound is {bound:g} s", job=job, shown=shown)
    if took:
        book.note(f"p50/p99/max {in_words(took)} s")
    if beside:
        book.note(f"{beside} more beside other faults")
    if behind:
        book.note(f"{behind} were rescued in time, and waited behind others")
    return book.finding()


def _waited_its_turn(run: Run, orphaned: Tenure, struck: int, until: float, bound: float) -> bool:
    """It was rescued in time, and then claimed as soon as nobody was before it any more."""
    rescued = orphaned.released
    job = run.jobs.get(orphaned.granted.job_id)
    if rescued is None or job is None:
        return False
    at, error = run.clock.at(struck)
    if rescued.at - at - error > bound:
        return False
    if job.limit_key is not None or any(one.fault in HOLD_ROWS for one in run.faults_at(struck, until)):
        return True
    again = next((one.granted for one in run.tenures[job.id] if one.granted.id > rescued.id), None)
    claimed = again.at if again is not None else run.ended
    first, last = bisect_right(run.grants, rescued.id), bisect_left(run.grants, again.id if again else 2**63)
    before = (run.granted[number] for number in range(last - 1, first - 1, -1))
    turn = next((one.at for one in before if _is_before(run, one, job, rescued.id)), rescued.at)
    return claimed - turn <= RESCUE_MARGIN_SECONDS


def _is_before(run: Run, granted: LeaseEvent, job: Job, since: int) -> bool:
    """Whether what was claimed there has its place before this job, which became ready with the event `since`."""
    other = run.jobs.get(granted.job_id)
    if other is None or other.queue != job.queue or other.priority < job.priority:
        return False
    ready = [event.id for event in run.events.get(other.id, []) if event.to_state == "ready" and event.id < granted.id]
    return other.priority > job.priority or (bool(ready) and ready[-1] < since)


def _may_hinder(run: Run, fault: Injection, job: int) -> bool:
    """Who holds rows hinders those alone, and whoever waits for a seat that one of them has."""
    row = run.jobs.get(job)
    return fault.fault not in HOLD_ROWS or job in fault.jobs or row is None or row.limit_key is not None


KILLS = frozenset({"F01", "F02", "F03", "F08", "F09"})


def orphaned_by(run: Run, injection: Injection, job: int) -> Tenure | None:
    """The lease of this job that was held when the fault struck, and then taken by rescue()."""
    at, error = run.clock.at(injection.record.ns)
    for tenure in run.tenures.get(job, []):
        released = tenure.released
        if released is None or released.who != "rescue":
            continue
        if tenure.granted.at <= at + error and at - error <= released.at:
            return tenure
    return None


def pick_up(run: Run) -> Finding:
    """While nobody hears a NOTIFY and no other fault is at work, no queue of the workers that has ready jobs all the
    while goes for longer than a poll, and some, without one that starts. How long each job waits is a figure, since
    workers may be busy besides."""
    book = Notebook("L4", "pick-up without NOTIFY")
    for fault in sorted(WITHOUT_NOTIFY):
        found: list[float] = []
        for injection in run.injections:
            if injection.fault == fault and injection.healed < float("inf"):
                found += waits(run, run.clock.at(injection.record.ns)[0], run.clock.at(int(injection.healed))[0])
                _picked_up(run, book, injection)
        if found:
            book.checked += len(found)
            book.note(f"{fault}: p50/p99/max {in_words(found)} s")
    return book.finding()


def _picked_up(run: Run, book: Notebook, injection: Injection) -> None:
    pulses = [pulse for pulse in run.of("pulse") if injection.record.ns <= pulse.ns <= injection.healed]
    for queue in run.served:
        for since, until in _stretches(pulses, lambda pulse, queue=queue: queue in (pulse.note.get("queues") or {})):
            if any(other is not injection for other in run.faults_at(since, until)):
                continue
            book.checked += 1
            silence = _longest_silence(run.served[queue], since, until)
            if silence > PICK_UP_SECONDS:
                said = f"queue {queue} had ready jobs, and nothing was started for {silence:.1f} s"
                book.violation(said, shown=[injection.record])


def _longest_silence(starts: Sequence[int], since: int, until: int) -> float:
    """Seconds without a start in this time."""
    inside = [since, *starts[bisect_left(starts, since) : bisect_right(starts, until)], until]
    return max(after - before for before, after in pairwise(inside)) / 1e9


def ages(run: Run) -> Finding:
    """How old the oldest ready job of each queue became: a figure. Who is older than the run came while a fault
    had moved the clock."""
    book = Notebook("L6", "age of the oldest job")
    ages: defaultdict[str, list[float]] = defaultdict(list)
    for pulse in run.of("pulse"):
        lanes: Mapping[str, Mapping[str, float]] = pulse.note.get("queues") or {}
        for queue, lane in lanes.items():
            book.checked += 1
            if lane["age"] <= (pulse.ns - run.records[0].ns) / 1e9:
                ages[queue].append(lane["age"])
    for queue, found in sorted(ages.items()):
        book.note(f"{queue}: p99 {percentile(found, 0.99):.1f} s, max {max(found):.1f} s")
    return book.finding()


def exits(run: Run) -> Finding:
    """No process ends that no fault, nor the end of the run, wanted to; but one that found no database when it started,
    and a worker for each handler of a poisonous job that was the last it began. And nobody is deaf for over fifteen
    seconds: with the database answering, no fault at work and jobs ready all the while, handlers start. And all workers
    listen again within half a minute of the last fault, after a pooler that they have met in a minute and a half."""
    book = Notebook("L8", "unexpected exits, deaf time")
    poisoned = _poisoned(run)
    by_poison = 0
    for record in run.of("exit"):
        if record.phase != "ok":
            continue
        book.checked += 1
        homeless = record.note.get("code") == NO_DATABASE and record.note.get("at_work") is False
        if record.note.get("expected") or homeless:
            continue
        dose = next((ns for ns in poisoned if ns < record.ns <= ns + POISON_SECONDS * 1e9), None)
        if dose is not None and record.note.get("role", "worker") == "worker":
            poisoned.remove(dose)
            by_poison += 1
        else:
            book.violation(f"{record.note.get('name')} ended with {record.note.get('code')}", shown=[record])
    if by_poison:
        book.note(f"{by_poison} workers were killed by poison")
    longest = 0.0
    for since, until in _busy_times(run):
        book.checked += 1
        silence = _longest_silence(run.starts, since, until)
        longest = max(longest, silence)
        if silence > DEAF_SECONDS:
            book.violation(f"nothing started for {silence:.1f} s")
    book.note(f"longest time without a start though jobs were ready: {longest:.1f} s")
    _listening(run, book)
    return book.finding()


def _listening(run: Run, book: Notebook) -> None:
    """The listeners of workers are counted, those of others are not. Outside of faults a pulse that was not answered
    says nothing."""
    pulses = [pulse for pulse in run.of("pulse") if pulse.phase == "ok" and "listeners" in pulse.note]
    longest = 0.0
    for since, until in _stretches(
        _before_check(run, pulses),
        lambda pulse: pulse.note["listeners"] < pulse.note["workers"],
        broken=lambda since, until: _may_be_deaf(run, since, until),
    ):
        book.checked += 1
        deaf = (until - since) / 1e9
        longest = max(longest, deaf)
        if deaf > LISTEN_SECONDS:
            last = next(pulse for pulse in reversed(pulses) if pulse.ns <= until)
            said = f"{last.note['listeners']} of {last.note['workers']} workers listen, some have not for {deaf:.1f} s"
            book.violation(said, shown=[last])
    if pulses:
        book.note(f"longest time until all workers listened: {longest:.1f} s")


def _may_be_deaf(run: Run, since: int, until: int) -> bool:
    pooled = (one for one in run.faults_at(since, until, margin_seconds=POOLED_SECONDS) if one.fault in POOLERS)
    return bool(run.faults_at(since, until)) or any(pooled)


def _poisoned(run: Run) -> list[int]:
    """When handlers of poison started after which their process wrote nothing any more."""
    return [
        start.ns
        for start in run.of("start")
        if (submission := run.submissions.get(start.key or "")) is not None
        and submission.note.get("kind") == "poison"
        and run.last_words[start.process] == start.ns
    ]


def _busy_times(run: Run) -> list[tuple[int, int]]:
    """From the first to the last of the pulses in a row that were answered and saw ready jobs, outside of faults."""
    return _stretches(
        _before_check(run, run.of("pulse")),
        lambda pulse: pulse.phase == "ok" and bool(pulse.note.get("queues")) and not run.faults_at(pulse.ns, pulse.ns),
    )


def _before_check(run: Run, pulses: Sequence[Record]) -> list[Record]:
    over = run.phase_began("check") or 2**63
    return [pulse for pulse in pulses if pulse.ns <= over]


def _stretches(
    pulses: Sequence[Record],
    holds: Callable[[Record], bool],
    *,
    broken: Callable[[int, int], bool] = lambda since, until: False,
) -> list[tuple[int, int]]:
    """From the first to the last of pulses in a row for which it holds, where nothing has broken the time between."""
    times: list[tuple[int, int]] = []
    since: int | None = None
    last = 0
    for pulse in pulses:
        here = holds(pulse)
        if since is not None and (not here or broken(last, pulse.ns)):
            times.append((since, last))
            since = None
        if here:
            since, last = (pulse.ns if since is None else since), pulse.ns
    return [*times, (since, last)] if since is not None else times


def idle_load(run: Run) -> Finding:
    """What processes cost while they could do nothing, as the faults that measured it say: a figure."""
    book = Notebook("L5", "idle load under faults")
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for injection in run.injections:
        for record in (*injection.told, *([injection.outcome] if injection.outcome is not None else [])):
            for name in ("cpu_share", "queries_per_second"):
                if isinstance(value := record.note.get(name), (int, float)):
                    book.checked += 1
                    shares[f"{injection.fault} {name}"].append(float(value))
    for what, found in sorted(shares.items()):
        book.note(f"{what} at most {max(found):.2f}")
    return book.finding()

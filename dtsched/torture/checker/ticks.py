"""What became of the ticks of schedules."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

from dtsched.cron import parse
from dtsched.torture.checker.findings import Finding, Notebook
from dtsched.torture.checker.run import Run
from dtsched.torture.checker.sums import in_words
from dtsched.torture.state import Schedule, Tick

MOST_TICKS = 200_000
LATEST_SECONDS = 15.0


def ticks(run: Run) -> Finding:
    """Each tick between the first and the last of a schedule is there, once, with a job of its own if it fired, and
    that job is there. None is missed by a schedule that catches up on all, none skipped by one whose jobs may overlap.

    What lies between is computed by dtsched.cron. Nothing is said of missing ones where the database's clock was
    moved."""
    book = Notebook("S13", "cron ticks x1")
    by_schedule: defaultdict[str, list[Tick]] = defaultdict(list)
    for tick in run.state.ticks:
        by_schedule[tick.schedule].append(tick)
    schedules = {schedule.name: schedule for schedule in run.state.schedules}
    jobs = Counter(tick.job_id for tick in run.state.ticks if tick.job_id is not None)
    for name, found in by_schedule.items():
        for tick, count in Counter(one.tick for one in found).items():
            book.checked += 1
            if count > 1:
                book.violation(
                    f"{count} times", key=_named(name, tick), shown=[one for one in found if one.tick == tick]
                )
        for one in found:
            if one.job_id is not None and jobs[one.job_id] > 1:
                book.violation("its job is another tick's too", job=one.job_id, key=_named(name, one.tick), shown=[one])
            if one.job_id is not None and one.job_id not in run.jobs and one.job_id not in run.events:
                book.violation("its job is not there", job=one.job_id, key=_named(name, one.tick), shown=[one])
        if (schedule := schedules.get(name)) is not None:
            _complete(run, book, schedule, found)
    return book.finding()


def _complete(run: Run, book: Notebook, schedule: Schedule, found: list[Tick]) -> None:
    if schedule.problem is not None:
        book.violation(f"it fires no more: {schedule.problem}", key=schedule.name, shown=[schedule])
    for one in found:
        wrong = (one.outcome == "missed" and schedule.catchup == "all") or (
            one.outcome == "skipped" and schedule.overlap == "allow"
        )
        if wrong:
            book.violation(f"it was {one.outcome}", key=_named(schedule.name, one.tick), shown=[schedule, one])
    if run.clock.jumps:
        book.note("the database's clock was moved: nobody knows which ticks there were")
        return
    there = {one.tick for one in found}
    times, last = parse(schedule.spec, schedule.tz), max(there)
    moment: datetime | None = datetime.fromtimestamp(min(there), UTC)
    for _ in range(MOST_TICKS):
        moment = times.after(moment)
        if moment is None or moment.timestamp() > last:
            break
        if moment.timestamp() not in there:
            book.violation("it is not there", key=_named(schedule.name, moment.timestamp()), shown=[schedule])


def lateness(run: Run) -> Finding:
    """How long after its time each tick fired. No more than fifteen seconds where no fault was at work from shortly
    before to then; and at the end no schedule has been silent for longer. Where the database's clock was moved, nobody
    knows how long that was."""
    book = Notebook("L7", "lateness of ticks")
    fired = [tick for tick in run.state.ticks if tick.outcome == "fired"]
    book.checked = len(fired)
    if fired:
        book.note(f"p50/p99/max {in_words([tick.at - tick.tick for tick in fired])} s")
    if run.clock.jumps:
        return book.finding()
    for tick in fired:
        if tick.at - tick.tick > LATEST_SECONDS and _is_quiet(run, tick.tick, tick.at):
            book.violation(f"{tick.at - tick.tick:.1f} s late", key=_named(tick.schedule, tick.tick), shown=[tick])
    if run.phase_began("check") is not None:
        for schedule in run.state.schedules:
            _silent(run, book, schedule)
    return book.finding()


def _silent(run: Run, book: Notebook, schedule: Schedule) -> None:
    if schedule.paused or schedule.problem is not None:
        return  # S13's
    last = max((tick.tick for tick in run.state.ticks if tick.schedule == schedule.name), default=schedule.since)
    due = parse(schedule.spec, schedule.tz).after(datetime.fromtimestamp(last, UTC))
    if due is not None and run.ended - due.timestamp() > LATEST_SECONDS and _is_quiet(run, due.timestamp(), run.ended):
        book.violation("it has not fired, nor any after it", key=_named(schedule.name, due.timestamp()),
                       shown=[schedule])  # fmt: skip


def _is_quiet(run: Run, since: float, until: float) -> bool:
    return not run.faults_at(run.clock.ns(since), run.clock.ns(until), margin_seconds=LATEST_SECONDS)


def _named(schedule: str, tick: float) -> str:
    return f"{schedule} {datetime.fromtimestamp(tick, UTC).isoformat()}"

"""`dtsched stats`: everything in figures, on one screen."""

import click
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json
from dtsched.cli.queues import show_queues
from dtsched.cli.wording import seconds
from dtsched.overview import JobCounts, Percentiles, Stats, WorkerCounts

OUTCOMES = {
    "complete": "completed",
    "fail": "failed",
    "cancel": "cancelled",
    "retry": "tried again",
    "snooze": "snoozed",
    "crash": "lost with their worker",
}


@click.command("stats", cls=RichCommand)
@dsn_option
@json_option
def stats_command(dsn: str | None, as_json: bool) -> None:
    """Print how many jobs there are in each state, how fast they go, and what the workers have to do.

    Rates and times are of this minute and the four before; a time is the upper bound of the class that it falls into.
    """
    stats = with_store(dsn, lambda store: store.stats())
    if as_json:
        print_json(stats)
        return
    print_fields(fields(stats))
    if stats.queues:
        click.echo()
        show_queues(stats.queues)


def fields(stats: Stats) -> list[tuple[str, str]]:
    return [
        ("jobs", jobs(stats.jobs)),
        ("ended", ended(stats.jobs)),
        ("workers", workers(stats.workers)),
        ("attempts a second", rates(stats.rates)),
        ("waited", percentiles(stats.latency.wait)),
        ("ran", percentiles(stats.latency.run)),
    ]


def jobs(counts: JobCounts) -> str:
    waiting = f"{counts.scheduled:,} scheduled, {counts.blocked:,} blocked"
    return f"{counts.ready:,} ready, {counts.running:,} running, {waiting}"


def ended(counts: JobCounts) -> str:
    return f"{counts.completed:,} completed, {counts.failed:,} failed, {counts.cancelled:,} cancelled"


def workers(counts: WorkerCounts) -> str:
    return (
        f"{counts.active:,} active, {counts.draining:,} draining, {counts.lost:,} lost; "
        f"{counts.running:,} of {counts.slots:,} slots taken ({counts.utilisation:.0%})"
    )


def rates(by_outcome: dict[str, float]) -> str:
    """Those that there are; the schema may know outcomes that we have no word for."""
    words = [f"{rate:,.1f} {OUTCOMES.get(outcome, outcome)}" for outcome, rate in ordered(by_outcome) if rate]
    return ", ".join(words) or "none"


def ordered(by_outcome: dict[str, float]) -> list[tuple[str, float]]:
    known = [(outcome, by_outcome[outcome]) for outcome in OUTCOMES if outcome in by_outcome]
    return known + [(outcome, rate) for outcome, rate in by_outcome.items() if outcome not in OUTCOMES]


def percentiles(found: Percentiles) -> str:
    if found.p50 is None and found.p95 is None and found.p99 is None:
        return "nothing to tell yet"
    shares = (("half", found.p50), ("95%", found.p95), ("99%", found.p99))
    return ", ".join(f"{share} {'longer' if bound is None else f'at most {brief(bound)}'}" for share, bound in shares)


def brief(duration: float) -> str:
    return f"{duration * 1000:g} ms" if duration < 1 else seconds(duration)

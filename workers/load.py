"""A generator of load: submits built-in tasks at a steady rate, mixed, and does not wait for what becomes of them.

    python -m dtsched.workers.load --rate 200 --duration 30s --mix echo=70,fibonacci=20,prime_factorization=5,fail=5

An open loop: what is due is sent whether or not what went before has been answered, by a few senders. When all of them
still wait, the plan does not move: what is sent late is counted as late.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import NamedTuple

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import reachable
from dtsched.cli.display import Display
from dtsched.cli.exits import ExitCode, exit_code
from dtsched.cli.options import dsn_option, json_option, settings_of
from dtsched.cli.output import print_json
from dtsched.client import Client
from dtsched.connections import is_outage, is_transient
from dtsched.errors import DtschedError, InvalidInput
from dtsched.jobs import NewJob
from dtsched.settings import parse_duration

MIX = "echo=70,fibonacci=20,prime_factorization=5,sleep=4,fail=1"
KINDS = ("echo", "fibonacci", "prime_factorization", "sleep", "fail")
SENDERS = 10
LATE_SECONDS = 0.1


class Planned(NamedTuple):
    """A job and when it is due, in seconds from the start."""

    at: float
    job: NewJob


@dataclass
class Tally:
    """`began` is when the first job was due."""

    began: float | None = None
    submitted: int = 0
    kept: int = 0
    refused: int = 0
    late: int = 0
    behind_seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict[str, int])


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `kept` are the submitted ones whose key an unfinished job held; `late` those that were sent
    more than a tenth of a second after they were due, `behind_seconds` the longest such time; `reasons` are why jobs
    were refused, or not acknowledged, and how many."""

    seed: int
    planned: int
    submitted: int
    kept: int
    refused: int
    late: int
    behind_seconds: float
    seconds: float
    submitted_per_second: float
    reasons: dict[str, int]


@click.command("load", cls=RichCommand)
@click.option("--rate", type=click.FloatRange(0.01, 100_000), default=100.0, show_default=True, help="Jobs a second.")
@click.option("--duration", metavar="DURATION", default="10s", show_default=True)
@click.option("--mix", metavar="KIND=WEIGHT,…", default=MIX, show_default=True, help="`fail` are jobs that cannot run.")
@click.option("--seed", type=click.IntRange(0), help="The same seed plans the same jobs. Default: another every time.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Jobs a call.")
@dsn_option
@json_option
def load_command(
    rate: float, duration: str, mix: str, seed: int | None, batch: int, dsn: str | None, as_json: bool
) -> int:
    """Submit a mixed load at a steady rate.

    Some jobs have a priority, a delay or a key that another one may hold. Ctrl-C ends it early.
    """
    seed = secrets.randbelow(2**32) if seed is None else seed
    seconds = parse_duration(duration, field="--duration")
    planned = round(rate * seconds)
    jobs = plan(parse_mix(mix), rate=rate, seconds=seconds, seed=seed)
    tally, code = Tally(), ExitCode.OK
    with reachable(settings_of(dsn)) as database, Display() as display:
        try:
            asyncio.run(submit_all(database, jobs, planned, batch, tally, display))
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        summary = summarise(tally, seed=seed, planned=planned)
    print_json(summary) if as_json else print_summary(summary)
    return code if code or not summary.refused else ExitCode.ERROR


def parse_mix(text: str) -> dict[str, float]:
    """Kinds and their weights; at least one of them weighs something."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        kind, _, weight = (word.strip() for word in part.partition("="))
        if kind not in KINDS or kind in weights or not weight.replace(".", "", 1).isdecimal():
            raise InvalidInput(f"--mix takes KIND=WEIGHT,… with each of {', '.join(KINDS)} once, not {part[:60]!r}")
        weights[kind] = float(weight)
    if not any(weights.values()):
        raise InvalidInput(f"--mix needs a weight over 0, not {text[:60]!r}")
    return weights


def plan(mix: Mapping[str, float], *, rate: float, seconds: float, seed: int) -> Iterator[Planned]:
    numbers = Random(seed)
    kinds, weights = list(mix), list(mix.values())
    for index in range(round(rate * seconds)):
        (kind,) = numbers.choices(kinds, weights)
        yield Planned(index / rate, make_job(kind, numbers))


def make_job(kind: str, numbers: Random) -> NewJob:
    task, args = make_call(kind, numbers)
    return NewJob(
        task=task,
        args=args,
        priority=numbers.randint(1, 10) if numbers.random() < 0.3 else None,
        delay=round(numbers.uniform(0.1, 5), 3) if numbers.random() < 0.1 else None,
        key=f"load-{numbers.randrange(100)}" if numbers.random() < 0.05 else None,
    )


def make_call(kind: str, numbers: Random) -> tuple[str, dict[str, object]]:
    match kind:
        case "echo":
            return "echo", {"value": {"number": numbers.randrange(10**6), "text": "x" * numbers.randrange(200)}}
        case "fibonacci":
            return "fibonacci", {"n": numbers.randrange(2000)}
        case "prime_factorization":
            return "prime_factorization", {"n": numbers.randrange(1, 10**12)}
        case "sleep":
            return "sleep", {"seconds": round(numbers.uniform(0.01, 0.5), 3)}
        case _:  # arguments that do not fit: such a job fails at its first attempt
            return numbers.choice([("echo", {}), ("prime_factorization", {"n": 0})])


async def submit_all(
    dsn: str, jobs: Iterator[Planned], planned: int, batch: int, tally: Tally, display: Display
) -> None:
    async with Client(dsn, role="load", pool_size=SENDERS) as client:
        # one for each sender: the connections are open before the first job is due
        await asyncio.gather(*(client.require_contract() for _ in range(SENDERS)))
        began = tally.began = time.monotonic()

        async def send_what_is_due() -> None:
            while due := list(islice(jobs, batch)):
                await asyncio.sleep(began + due[-1].at - time.monotonic())
                await send(client, due, time.monotonic() - began - due[-1].at, tally)
                display.advance("submitted", tally.submitted, planned)

        async with asyncio.TaskGroup() as senders:
            for _ in range(SENDERS):
                senders.create_task(send_what_is_due())


async def send(client: Client, due: list[Planned], behind_seconds: float, tally: Tally) -> None:
    tally.behind_seconds = max(tally.behind_seconds, behind_seconds)
    tally.late += len(due) if behind_seconds > LATE_SECONDS else 0
    try:
        submitted = await client.submit_many([planned.job for planned in due])
    except Exception as error:
        if not (isinstance(error, DtschedError) or is_outage(error) or is_transient(error)):
            raise
        tally.refused += len(due)
        tally.reasons[str(error)] = tally.reasons.get(str(error), 0) + len(due)
        return
    tally.submitted += len(submitted)
    tally.kept += sum(not one.created for one in submitted)


def summarise(tally: Tally, *, seed: int, planned: int) -> Summary:
    seconds = time.monotonic() - tally.began if tally.began is not None else 0.0
    return Summary(
        seed=seed,
        planned=planned,
        submitted=tally.submitted,
        kept=tally.kept,
        refused=tally.refused,
        late=tally.late,
        behind_seconds=round(tally.behind_seconds, 3),
        seconds=round(seconds, 3),
        submitted_per_second=round(tally.submitted / seconds, 1) if seconds else 0.0,
        reasons=tally.reasons,
    )


def print_summary(summary: Summary) -> None:
    lines = [
        f"{summary.submitted:,} of {summary.planned:,} jobs submitted in {summary.seconds:.1f} s, "
        f"{summary.submitted_per_second:,.1f} jobs/s; of {summary.kept:,} the key was held by another",
        f"{summary.late:,} jobs were sent late, the latest {summary.behind_seconds:.2f} s after it was due",
        f"{summary.refused:,} jobs were refused",
        *(f"  {count:,} times: {reason}" for reason, count in summary.reasons.items()),
        f"the same jobs again: --seed {summary.seed}",
    ]
    for line in lines:
        click.echo(line)


def main() -> int:
    with exit_code() as ended:
        ended.code = load_command.main(prog_name="python -m dtsched.workers.load", standalone_mode=False) or 0
    return ended.code


if __name__ == "__main__":
    sys.exit(main())

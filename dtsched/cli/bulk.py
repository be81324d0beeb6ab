"""What is done to all jobs that fit a filter: counted, shown and asked about, then done in batches, newest first."""

import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager

import click
import msgspec

from dtsched.cli.acting import BATCH, Act, Verb, act_on
from dtsched.cli.database import with_store
from dtsched.cli.display import Display
from dtsched.cli.exits import ExitCode
from dtsched.cli.layout import draw, terminal_width
from dtsched.cli.listing import COLUMNS, drawn, written
from dtsched.cli.output import print_json, print_table, say
from dtsched.cli.pages import fitting_ids
from dtsched.cli.wording import jobs as number_of
from dtsched.errors import InvalidInput
from dtsched.filters import Filter, parse_filter
from dtsched.jobs import Job
from dtsched.store import Store

MOST_COUNTED = 100_000
COUNTING_PAGE = 10_000
SAMPLE = 5
PATIENCE_SECONDS = 1.0


class Fitting(msgspec.Struct, frozen=True):
    """`count` is of the jobs that fit, up to 100,000; `or_more` says that there it stopped."""

    count: int
    or_more: bool
    sample: list[Job]


class Summary(msgspec.Struct, frozen=True):
    """How many jobs had which outcome."""

    outcomes: dict[str, int]


def act_where(
    verb: Verb, act: Act, where: Sequence[str], *, dry_run: bool, yes: bool, dsn: str | None, as_json: bool
) -> int:
    wanted = meant(where)
    if not (dry_run or yes or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise click.UsageError("--where asks before it acts, and there is no terminal to ask at: give --yes")
    fitting = with_store(dsn, lambda store: look(store, wanted))
    if dry_run:
        show(fitting, as_json=as_json)
        return ExitCode.OK
    if fitting.count and not yes and not confirmed(verb, fitting):
        say("nothing was changed")
        return ExitCode.ERROR
    outcomes: Counter[str] = Counter()
    if fitting.count:
        with told_if_broken_off(outcomes):
            with_store(dsn, lambda store: run(store, verb, act, wanted, fitting, outcomes))
    tell_outcomes(verb, outcomes, as_json=as_json)
    return ExitCode.CONFLICT if outcomes["busy"] else ExitCode.OK


def meant(where: Sequence[str]) -> Filter:
    """An empty filter would mean every job there is: more likely a variable was empty."""
    wanted = parse_filter(" ".join(where))
    if not wanted:
        raise InvalidInput("--where is empty, which would mean every job: say which ones, as in state:failed")
    return wanted


async def look(store: Store, wanted: Filter) -> Fitting:
    found = 0
    first: list[int] = []
    with Progress("counting", None) as progress:
        async for ids in fitting_ids(store, wanted, limit=COUNTING_PAGE):
            first += ids[: SAMPLE - len(first)]
            found += len(ids)
            progress.tell(found)
            if found >= MOST_COUNTED:
                break
    sample = [job for job_id in first if (job := await store.job(job_id)) is not None]
    return Fitting(min(found, MOST_COUNTED), found >= MOST_COUNTED, sample)


def show(fitting: Fitting, *, as_json: bool) -> None:
    """On stdout: it is what a dry run was asked for."""
    if as_json:
        print_json(fitting)
    elif not sys.stdout.isatty():
        print_table([column.name for column in COLUMNS], [written(job) for job in fitting.sample])
    elif fitting.sample:
        draw(COLUMNS, [drawn(job) for job in fitting.sample], width=terminal_width())
    say(f"{number_of(fitting.count, or_more=fitting.or_more)} would be met{rest(fitting)}")


def rest(fitting: Fitting) -> str:
    shown = len(fitting.sample)
    return f"; these are the newest {shown}" if fitting.count > shown else ""


def confirmed(verb: Verb, fitting: Fitting) -> bool:
    draw(COLUMNS, [drawn(job) for job in fitting.sample], width=terminal_width(err=True), err=True)
    if fitting.count > len(fitting.sample):
        say("…")
    question = verb.question.format(number_of(fitting.count, or_more=fitting.or_more))
    return click.confirm(question, err=True)


async def run(store: Store, verb: Verb, act: Act, wanted: Filter, fitting: Fitting, outcomes: Counter[str]) -> None:
    with Progress(verb.doing, None if fitting.or_more else fitting.count) as progress:

        def note(found: dict[int, str]) -> None:
            outcomes.update(found.values())
            progress.tell(outcomes.total())

        await act_on(store, act, fitting_ids(store, wanted, limit=BATCH), note)


@contextmanager
def told_if_broken_off(outcomes: Counter[str]) -> Generator[None]:
    """Ctrl-C, or a database that goes away: what was done until then stays."""
    try:
        yield
    except BaseException:
        done = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        say(f"broken off; what was done stays: {done or 'nothing yet'}")
        raise


def tell_outcomes(verb: Verb, outcomes: Counter[str], *, as_json: bool) -> None:
    if as_json:
        print_json(Summary(dict(outcomes.most_common())))
    elif outcomes:
        rows = [[outcome, str(count), verb.meanings[outcome]] for outcome, count in outcomes.most_common()]
        print_table(["outcome", "jobs", "meaning"], rows)
    else:
        say("no job fits")


class Progress:
    """A bar or lines on stderr, once it takes long."""

    def __init__(self, doing: str, total: int | None) -> None:
        self._doing = doing
        self._total = total
        self._began = time.monotonic()
        self._open = ExitStack()
        self._display: Display | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def tell(self, done: int) -> None:
        if self._display is None and time.monotonic() - self._began > PATIENCE_SECONDS:
            self._display = self._open.enter_context(Display())
        if self._display is not None:
            self._display.advance(self._doing, done, self._total)

"""`dtsched list`: the jobs that fit a filter, as many pages of the schema's as it takes."""

import sys
import time
from typing import Protocol

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.layout import Column, draw, terminal_width
from dtsched.cli.options import JOB_ID, dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.pages import pages
from dtsched.cli.wording import at, at_second, progress_text
from dtsched.filters import parse_filter
from dtsched.jobs import ENDED, Job
from dtsched.logs import printable
from dtsched.overview import JobPage
from dtsched.store import Store

PATIENCE_SECONDS = 1.0

COLUMNS = (
    Column("id"),
    Column("state"),
    Column("queue", flexible=True, from_width=80),
    Column("task", flexible=True),
    Column("attempt", from_width=80),
    Column("created", from_width=100),
    Column("error", flexible=True),
)


class Jobs(msgspec.Struct, frozen=True):
    """As GET /v1/jobs answers. `next` goes into --before for what follows."""

    jobs: list[Job]
    next: str | None


@click.command("list", cls=RichCommand)
@click.argument("terms", metavar="[FILTER]...", nargs=-1)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N")
@click.option("--before", type=JOB_ID, metavar="ID", help="Only jobs older than this one: what follows a list.")
@dsn_option
@json_option
def list_command(terms: tuple[str, ...], limit: int, before: int | None, dsn: str | None, as_json: bool) -> None:
    """List jobs, newest first.

    All terms of a FILTER must fit: state, queue, task, key, limit_key, tag, priority, worker, correlation_id, id,
    error (a part of it), since, until and args.PATH, each with a colon and its value; of values that stand apart by
    commas, one must fit. The state `pending` means blocked, scheduled or ready. Ctrl-C ends a long search with what it
    has found.

    \b
    dtsched list state:failed queue:mail since:1h
    dtsched list error:Timeout args.user.id:42
    dtsched list state:pending,running --json --limit 1000
    """
    wanted = parse_filter(terms)
    printer = printer_for(as_json=as_json)
    reached: list[int | None] = []

    async def read(store: Store) -> None:
        with Searching() as searching:
            async for page in pages(store, wanted, before=before, limit=limit):
                reached[:] = [page.next]
                printer.add(page.jobs)
                searching.tell(page)

    try:
        with_store(dsn, read)
    finally:  # also after Ctrl-C, or when the database goes away in the middle
        if reached:
            printer.end(reached[0])


class Searching:
    """Says on a terminal's stderr how far a search has come, once it takes long."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._found = 0
        self._talks = sys.stderr.isatty()
        self._said = False

    def __enter__(self) -> "Searching":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._said:
            self._write("")

    def tell(self, page: JobPage) -> None:
        self._found += len(page.jobs)
        if self._talks and page.next is not None and time.monotonic() - self._began > PATIENCE_SECONDS:
            self._said = True
            self._write(f"{self._found:,} found, searching below job {page.next} (Ctrl-C ends it)")

    def _write(self, text: str) -> None:
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


class Printer(Protocol):
    def add(self, jobs: list[Job]) -> None: ...
    def end(self, following: int | None) -> None: ...


def printer_for(*, as_json: bool) -> Printer:
    if sys.stdout.isatty():
        return Whole(as_json=as_json)
    return JsonStream() if as_json else Lines()


class Whole:
    """For a terminal: a table whose columns fit, or indented JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._jobs: list[Job] = []

    def add(self, jobs: list[Job]) -> None:
        self._jobs += jobs

    def end(self, following: int | None) -> None:
        if self._as_json:
            print_json(Jobs(self._jobs, name_of(following)))
            return
        draw(COLUMNS, [drawn(job) for job in self._jobs], width=terminal_width())
        tell_following(following)


class Lines:
    """For a program: tab-separated, nothing cut, as it is found."""

    def __init__(self) -> None:
        self._began = False

    def add(self, jobs: list[Job]) -> None:
        lines = [] if self._began else ["\t".join(column.name for column in COLUMNS)]
        self._began = True
        lines += ["\t".join(map(printable, written(job))) for job in jobs]
        if lines:
            click.echo("\n".join(lines))

    def end(self, following: int | None) -> None:
        tell_following(following)


class JsonStream:
    """For a program: one JSON document on one line, written as it is found."""

    def __init__(self) -> None:
        self._lead = b'{"jobs":['

    def add(self, jobs: list[Job]) -> None:
        for job in jobs:
            click.echo(self._lead + msgspec.json.encode(job), nl=False)
            self._lead = b","

    def end(self, following: int | None) -> None:
        head = b"" if self._lead == b"," else self._lead
        click.echo(head + b'],"next":' + msgspec.json.encode(name_of(following)) + b"}")


def name_of(following: int | None) -> str | None:
    return None if following is None else str(following)


def tell_following(following: int | None) -> None:
    if following is not None:
        say(f"there may be more: --before {following}")


def written(job: Job) -> list[str]:
    attempt = f"{job.attempt}/{job.max_attempts}"
    return [str(job.id), job.state, job.queue, job.task, attempt, at(job.created_at), job.error or ""]


def drawn(job: Job) -> list[str]:
    cells = written(job)
    cells[5] = at_second(job.created_at)
    if job.state not in ENDED and job.progress is not None:
        cells[6] = progress_text(job.progress)
    return cells

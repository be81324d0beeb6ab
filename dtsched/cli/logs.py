"""`dtsched logs`: what the handlers of a job have logged, and are logging."""

import os
import sys
from collections.abc import Callable

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.awaiting import polls, said_to_go_on
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import JOB_ID, dsn_option, json_option
from dtsched.cli.output import say
from dtsched.cli.showing import existing
from dtsched.cli.wording import at
from dtsched.jobs import ENDED, Job
from dtsched.logs import printable
from dtsched.overview import LogLine
from dtsched.store import Store

PAGE = 1000
COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}


@click.command("logs", cls=RichCommand)
@click.argument("job_id", metavar="ID", type=JOB_ID)
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="LINE", help="Only what follows that line.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only the lines of that attempt.")
@dsn_option
@json_option
def logs_command(job_id: int, follow: bool, after: int, attempt: int | None, dsn: str | None, as_json: bool) -> int:
    """Print what the handlers of a job have logged.

    With --json each line is a JSON document. Exit code 3 if there is no job of that id; with -f, 5 if it failed or was
    cancelled, as with `dtsched watch`.

    \b
    dtsched logs 42
    dtsched logs 42 -f
    dtsched logs 42 --attempt 2 --json
    """
    written = json_line if as_json else text_line

    async def read(store: Store) -> int:
        if not follow:
            await existing(store, job_id)
            await print_new(store, job_id, after, attempt, written)
            return ExitCode.OK
        with said_to_go_on(lambda: f"job {job_id} goes on: `dtsched logs {job_id} -f` follows it again"):
            job = await followed(store, job_id, after, attempt, written)
        if job.state == "completed":
            return ExitCode.OK
        say(f"job {job_id} {job.state}: {job.error or 'no reason was given'}")
        return ExitCode.JOB_FAILED

    return with_store(dsn, read)


async def followed(
    store: Store, job_id: int, after: int, attempt: int | None, written: Callable[[LogLine], str | bytes]
) -> Job:
    """The job, which has ended."""
    while True:
        async for _ in polls(None):
            job = await existing(store, job_id)  # first: what has ended by then adds no line
            before, after = after, await print_new(store, job_id, after, attempt, written)
            if job.state in ENDED:
                return job
            if before < after:
                break  # and look again soon


async def print_new(
    store: Store, job_id: int, after: int, attempt: int | None, written: Callable[[LogLine], str | bytes]
) -> int:
    """The number of the last line."""
    full = True
    while full:
        page = await store.logs(job_id, after=after, limit=PAGE, attempt=attempt)
        for line in page:
            click.echo(written(line))
            after = line.line
        full = len(page) == PAGE
    return after


def json_line(line: LogLine) -> bytes:
    return msgspec.json.encode(line)


def text_line(line: LogLine) -> str:
    """What is below the first line of a message is indented, so that nothing can pass for a line of its own."""
    first, *rest = line.message.split("\n")
    logger = f" {printable(line.logger)}:" if line.logger else ""
    head = f"{at(line.at)} {line.level:8} [{line.attempt}]{logger} {printable(first)}"
    return coloured("\n    ".join([head, *map(printable, rest)]), COLOURS.get(line.level))


def coloured(text: str, colour: str | None) -> str:
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=colour)

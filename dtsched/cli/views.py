"""What `dtsched watch` shows: a table that is drawn anew on a terminal, a line for each change elsewhere."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dtsched.cli.layout import Column, table
from dtsched.cli.wording import at, progress_text, seconds
from dtsched.jobs import ENDED, Job
from dtsched.logs import printable

COLUMNS = (
    Column("id"),
    Column("state"),
    Column("task", flexible=True),
    Column("attempt", from_width=80),
    Column("runs"),
    Column("progress or error", flexible=True),
)
AROUND_THE_TABLE = 5


class Missing(msgspec.Struct, frozen=True):
    id: int
    state: str = "missing"


class View(Protocol):
    def update(self, jobs: Mapping[int, Job | None], changed: Sequence[int]) -> None: ...


@contextmanager
def view_for(ids: Sequence[int], *, as_json: bool) -> Generator[View]:
    if as_json or not sys.stdout.isatty():
        yield Changes(as_json=as_json)
        return
    console = Console()
    table_of = LiveTable(ids, console)
    with Live(get_renderable=table_of.render, console=console, refresh_per_second=4):
        yield table_of


class Changes:
    def __init__(self, *, as_json: bool) -> None:
        self._line = json_line if as_json else line

    def update(self, jobs: Mapping[int, Job | None], changed: Sequence[int]) -> None:
        for job_id in changed:
            click.echo(self._line(job_id, jobs[job_id]))


def json_line(job_id: int, job: Job | None) -> bytes:
    return msgspec.json.encode(job or Missing(job_id))


def line(job_id: int, job: Job | None) -> str:
    now = datetime.now(UTC)
    if job is None:
        return f"{at(now)}\t{job_id}\tmissing\t\t"
    return "\t".join([at(job.finished_at or now), str(job_id), job.state, attempt(job), printable(job.error or "")])


def attempt(job: Job) -> str:
    return f"{job.attempt}/{job.max_attempts}"


class LiveTable:
    """Drawn by a thread of its own, several times a second: the running time goes on between two looks at the jobs."""

    def __init__(self, ids: Sequence[int], console: Console) -> None:
        self._ids = ids
        self._console = console
        self._jobs: Mapping[int, Job | None] = {}

    def update(self, jobs: Mapping[int, Job | None], changed: Sequence[int]) -> None:
        self._jobs = dict(jobs)

    def render(self) -> Group | Text:
        jobs = self._jobs
        if not jobs:
            return Text("looking …")
        room = max(1, self._console.height - AROUND_THE_TABLE)
        order = self._ids if len(self._ids) <= room else sorted(self._ids, key=lambda job_id: is_over(jobs[job_id]))
        rows = [row(job_id, jobs[job_id]) for job_id in order[:room]]
        return Group(table(COLUMNS, rows, width=self._console.width), Text(self._summary(jobs, room)))

    def _summary(self, jobs: Mapping[int, Job | None], room: int) -> str:
        more = f"; {len(jobs) - room} more are not shown" if len(jobs) > room else ""
        return f"{sum(map(is_over, jobs.values()))} of {len(jobs)} ended{more}"


def is_over(job: Job | None) -> bool:
    return job is None or job.state in ENDED


def row(job_id: int, job: Job | None) -> list[str]:
    if job is None:
        return [str(job_id), "missing", "", "", "", ""]
    return [str(job_id), job.state, job.task, attempt(job), running_time(job), detail(job)]


def running_time(job: Job) -> str:
    if job.started_at is None:
        return ""
    until = job.finished_at or datetime.now(UTC)
    return seconds(max(0.0, (until - job.started_at).total_seconds()))


def detail(job: Job) -> str:
    if job.state not in ENDED and job.progress is not None:
        return progress_text(job.progress, bar=True)
    return job.error or ""

"""`dtsched list`, `show` and `cancel`."""

from datetime import datetime
from typing import get_args

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, print_table, say
from dtsched.errors import InvalidInput, NotFound
from dtsched.jobs import Job, JobState
from dtsched.store import Store

PAGE = 200  # what the schema gives at once
STATES = (*get_args(JobState), "pending")
FILTERS = ("state", "queue", "task")


class Page(msgspec.Struct, frozen=True):
    """As GET /v1/jobs answers. `next` goes into --before for the page after this one."""

    jobs: list[Job]
    next: int | None


@click.command("list", cls=RichCommand)
@click.argument("terms", metavar="[FILTER]...", nargs=-1)
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True)
@click.option("--before", type=int, metavar="ID", help="Jobs older than this one: the next page.")
@dsn_option
@json_option
def list_command(terms: tuple[str, ...], limit: int, before: int | None, dsn: str | None, as_json: bool) -> None:
    """List jobs, newest first.

    A FILTER is state:STATE, queue:NAME or task:NAME; the state `pending` means blocked, scheduled or ready.
    """
    wanted = parse_filter(terms)

    async def read(store: Store) -> list[Job]:
        return await store.list_jobs(
            state=wanted.get("state"), queue=wanted.get("queue"), task=wanted.get("task"), before=before, limit=limit
        )

    jobs = with_store(dsn, read)
    after = jobs[-1].id if len(jobs) == limit else None
    if as_json:
        print_json(Page(jobs, after))
        return
    print_table(
        ["id", "state", "queue", "task", "attempt", "created", "error"],
        [row(job) for job in jobs],
    )
    if after is not None:
        say(f"there may be more: --before {after}")


def row(job: Job) -> list[str]:
    attempt = f"{job.attempt}/{job.max_attempts}"
    return [str(job.id), job.state, job.queue, job.task, attempt, at(job.created_at), (job.error or "")[:60]]


def parse_filter(terms: tuple[str, ...]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for term in terms:
        name, colon, value = term.partition(":")
        if not colon or name not in FILTERS or not value or name in wanted:
            raise InvalidInput(f"a filter is state:, queue: or task: and a value, each once, not {term[:60]!r}")
        if name == "state" and value not in STATES:
            raise InvalidInput(f"a state is one of {', '.join(STATES)}, not {value[:60]!r}")
        wanted[name] = value
    return wanted


@click.command("show", cls=RichCommand)
@click.argument("job_id", metavar="ID", type=int)
@dsn_option
@json_option
def show_command(job_id: int, dsn: str | None, as_json: bool) -> None:
    """Show a job. Exit code 3 if there is none of that id."""
    job = with_store(dsn, lambda store: store.job(job_id))
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    if as_json:
        print_json(job)
    else:
        print_fields((name, text) for name in job.__struct_fields__ if (text := shown(getattr(job, name))) is not None)


def shown(value: object) -> str | None:
    """None for what is not set."""
    if value is None or value == []:
        return None
    if isinstance(value, datetime):
        return at(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def at(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="milliseconds")


@click.command("cancel", cls=RichCommand)
@click.argument("job_ids", metavar="ID...", type=int, nargs=-1, required=True)
@dsn_option
@json_option
def cancel_command(job_ids: tuple[int, ...], dsn: str | None, as_json: bool) -> int:
    """Cancel jobs, and those that depend on them. A running job is told, and ends cancelled.

    Exit code 3 if one is missing, 4 if one had ended before.
    """
    outcomes = with_store(dsn, lambda store: store.cancel(job_ids))
    if as_json:
        print_json([{"id": job_id, "outcome": outcome} for job_id, outcome in outcomes.items()])
    else:
        print_table(["id", "outcome"], [[str(job_id), outcome] for job_id, outcome in outcomes.items()])
    if "missing" in outcomes.values():
        return ExitCode.NOT_FOUND
    return ExitCode.CONFLICT if {"finished", "busy"} & set(outcomes.values()) else ExitCode.OK

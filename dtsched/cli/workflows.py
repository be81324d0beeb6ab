"""`dtsched workflow`: the workflows in figures, and the two things that can be done to one."""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.cli.acting import CANCEL, RETRY, Verb
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.layout import Column
from dtsched.cli.options import WORKFLOW_ID, dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, print_table, say
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at
from dtsched.errors import NotFound
from dtsched.overview import WorkflowRecord
from dtsched.store import Store

COLUMNS = (
    Column("id"),
    Column("name", flexible=True),
    Column("state"),
    Column("progress"),
    Column("jobs"),
    Column("failed", from_width=60),
    Column("created", from_width=80),
)
_BAR = 30

Act = Callable[[Store, int], Awaitable[dict[int, str]]]


class Acted(msgspec.Struct, frozen=True):
    """How many jobs met with each outcome."""

    id: int
    outcomes: Mapping[str, int]


@click.group("workflow", cls=RichGroup)
def workflow_command() -> None:
    """Make workflows, look at them and how far they are; cancel and retry them."""


@workflow_command.command("create", cls=RichCommand)
@click.argument("name")
@dsn_option
@json_option
def create_workflow(name: str, dsn: str | None, as_json: bool) -> None:
    """Make a workflow without jobs, and print its id.

    `dtsched submit TASK --workflow ID` adds jobs to it. Names need not be unique.
    """

    async def create(store: Store) -> WorkflowRecord:
        return await read(store, await store.create_workflow(name))

    made = with_store(dsn, create)
    print_json(made) if as_json else click.echo(made.id)


@workflow_command.command("list", cls=RichCommand)
@click.option("--before", type=click.IntRange(min=1), metavar="ID", help="Only older ones than this.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="At most this many.")
@dsn_option
@json_option
def list_workflows(before: int | None, limit: int, dsn: str | None, as_json: bool) -> None:
    """List workflows, newest first."""
    found = with_store(dsn, lambda store: store.list_workflows(before=before, limit=limit))
    print_json(found) if as_json else show_workflows(found)


def show_workflows(workflows: Sequence[WorkflowRecord]) -> None:
    show_table(COLUMNS, [row(workflow) for workflow in workflows])


def row(workflow: WorkflowRecord) -> list[str]:
    return [
        f"{workflow.id}",
        workflow.name,
        workflow.state,
        f"{workflow.progress:.0%}",
        f"{workflow.jobs.total}",
        f"{workflow.jobs.failed}",
        at(workflow.created_at),
    ]


@workflow_command.command("show", cls=RichCommand)
@click.argument("workflow_id", metavar="ID", type=WORKFLOW_ID)
@dsn_option
@json_option
def show_workflow(workflow_id: int, dsn: str | None, as_json: bool) -> None:
    """Show a workflow: its state, and how many of its jobs are where. Exit code 3 if there is none.

    `dtsched list workflow:ID` lists its jobs.
    """
    workflow = with_store(dsn, lambda store: read(store, workflow_id))
    print_json(workflow) if as_json else print_fields(fields(workflow))


async def read(store: Store, workflow_id: int) -> WorkflowRecord:
    found = await store.workflow(workflow_id)
    if found is None:
        raise NotFound(f"there is no workflow {workflow_id}")
    return found


def fields(workflow: WorkflowRecord) -> list[tuple[str, str]]:
    jobs = workflow.jobs
    share = f"{workflow.progress:.0%} of {jobs.total:,} {'job' if jobs.total == 1 else 'jobs'}"
    counts = {name: count for name, count in msgspec.structs.asdict(jobs).items() if name != "total" and count}
    times = {"started": workflow.started_at, "finished": workflow.finished_at, "cancelled": workflow.cancelled_at}
    return [
        ("id", f"{workflow.id}"),
        ("name", workflow.name),
        ("state", workflow.state),
        ("progress", f"{bar(workflow.progress)} {share}" if sys.stdout.isatty() else share),
        *((name, f"{count:,}") for name, count in counts.items()),
        ("created at", at(workflow.created_at)),
        *((f"{name} at", at(time)) for name, time in times.items() if time is not None),
    ]


def bar(progress: float) -> str:
    """Full only when all is done."""
    full = int(progress * _BAR)
    return "\u2588" * full + "\u2591" * (_BAR - full)


@workflow_command.command("cancel", cls=RichCommand)
@click.argument("workflow_id", metavar="ID", type=WORKFLOW_ID)
@dsn_option
@json_option
def cancel_workflow(workflow_id: int, dsn: str | None, as_json: bool) -> int:
    """Cancel every job of a workflow that has not ended. A running one is told, and ends cancelled.

    Exit code 3 if there is no such workflow, 4 if somebody else was changing one of the jobs: try again.
    """
    return act(CANCEL, _cancel, workflow_id, dsn, as_json=as_json, unmet="waits or runs")


@workflow_command.command("retry", cls=RichCommand)
@click.argument("workflow_id", metavar="ID", type=WORKFLOW_ID)
@dsn_option
@json_option
def retry_workflow(workflow_id: int, dsn: str | None, as_json: bool) -> int:
    """Run the failed and cancelled jobs of a workflow again, with all their attempts before them.

    Exit code 3 if there is no such workflow, 4 if a job could not be retried.
    """
    return act(
        RETRY,
        _retry,
        workflow_id,
        dsn,
        as_json=as_json,
        unmet="has failed or was cancelled",
    )


async def _cancel(store: Store, workflow_id: int) -> dict[int, str]:
    return await store.cancel_workflow(workflow_id)


async def _retry(store: Store, workflow_id: int) -> dict[int, str]:
    return await store.retry_workflow(workflow_id)


def act(verb: Verb, action: Act, workflow_id: int, dsn: str | None, *, as_json: bool, unmet: str) -> int:
    outcomes = Counter(with_store(dsn, lambda store: action(store, workflow_id)).values())
    if as_json:
        print_json(Acted(workflow_id, dict(outcomes)))
    elif not outcomes:
        say(f"no job of workflow {workflow_id} {unmet}")
    else:
        rows = [[outcome, f"{count}", verb.meanings[outcome]] for outcome, count in outcomes.items()]
        print_table(["outcome", "jobs", "meaning"], rows)
    refused = set(outcomes) - verb.successes - {"finished"}
    return ExitCode.CONFLICT if refused else ExitCode.OK

"""`dtsched operation`: what is done to many jobs at once over REST or SQL, looked at and cancelled."""

import click
from rich_click import RichCommand, RichGroup

from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, say
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at, jobs
from dtsched.errors import Conflict
from dtsched.operations import OperationRecord
from dtsched.store import LARGEST_ID, Store

COLUMNS = (
    Column("id"),
    Column("action"),
    Column("state"),
    Column("progress"),
    Column("jobs"),
    Column("filter", flexible=True),
    Column("by", from_width=100),
    Column("created", from_width=80),
)

operation_id = click.argument("operation_id", metavar="ID", type=click.IntRange(1, LARGEST_ID))


@click.group("operation", cls=RichGroup)
def operation_command() -> None:
    """Look at what is done to many jobs at once, and cancel it.

    They are begun over REST, or in SQL.
    """


@operation_command.command("list", cls=RichCommand)
@click.option("--before", type=click.IntRange(1, LARGEST_ID), metavar="ID", help="Only older ones than this.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="At most this many.")
@dsn_option
@json_option
def list_operations(before: int | None, limit: int, dsn: str | None, as_json: bool) -> None:
    """List the operations of the last 30 days, newest first."""
    found = with_store(dsn, lambda store: store.operations(before=before, limit=limit))
    print_json(found) if as_json else show_table(COLUMNS, [row(operation) for operation in found])


def row(operation: OperationRecord) -> list[str]:
    return [
        f"{operation.id}",
        said(operation),
        operation.state,
        f"{operation.progress:.0%}",
        f"{operation.matched:,}",
        operation.filter or "",
        operation.created_by or "",
        at(operation.created_at),
    ]


def said(operation: OperationRecord) -> str:
    return f"{operation.action} (dry run)" if operation.dry_run else operation.action


@operation_command.command("show", cls=RichCommand)
@operation_id
@dsn_option
@json_option
def show_operation(operation_id: int, dsn: str | None, as_json: bool) -> None:
    """Show how far an operation is, and what came of the jobs it has met. Exit code 3 if there is none."""
    operation = with_store(dsn, lambda store: store.operation(operation_id))
    print_json(operation) if as_json else print_fields(fields(operation))


def fields(operation: OperationRecord) -> list[tuple[str, str]]:
    times = {"started at": operation.started_at, "finished at": operation.finished_at}
    given = {"run at": operation.run_at and at(operation.run_at), "by": operation.created_by, "error": operation.error}
    return [
        ("id", f"{operation.id}"),
        ("action", said(operation)),
        ("filter", operation.filter or ""),
        ("state", operation.state),
        ("progress", f"{operation.progress:.0%}"),
        ("jobs met", f"{operation.matched:,}"),
        *((outcome, f"{count:,}") for outcome, count in operation.outcomes.items()),
        *((name, value) for name, value in given.items() if value),
        ("created at", at(operation.created_at)),
        *((name, at(time)) for name, time in times.items() if time is not None),
    ]


@operation_command.command("cancel", cls=RichCommand)
@operation_id
@dsn_option
@json_option
def cancel_operation(operation_id: int, dsn: str | None, as_json: bool) -> None:
    """Have an operation do nothing more; what it has done stays.

    Exit code 3 if there is none, 4 if it is over.
    """

    async def cancel(store: Store) -> OperationRecord:
        outcome = await store.cancel_operation(operation_id)
        operation = await store.operation(operation_id)
        if outcome != "cancelled":
            raise Conflict(f"operation {operation_id} is over: it is {operation.state}")
        return operation

    operation = with_store(dsn, cancel)
    if as_json:
        print_json(operation)
    else:
        say(f"operation {operation_id} is cancelled; it has met {jobs(operation.matched)}")

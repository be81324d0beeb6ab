"""`dtsched task`: the tasks that workers have declared, and what their code says of them."""

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at, seconds
from dtsched.errors import NotFound
from dtsched.overview import TaskRecord
from dtsched.store import Store

COLUMNS = (
    Column("name", flexible=True),
    Column("queue"),
    Column("priority", from_width=80),
    Column("attempts", from_width=60),
    Column("timeout", from_width=60),
    Column("executor", from_width=80),
    Column("workers"),
)


@click.group("task", cls=RichGroup)
def task_command() -> None:
    """Look at the tasks that workers have declared."""


@task_command.command("list", cls=RichCommand)
@dsn_option
@json_option
def list_tasks(dsn: str | None, as_json: bool) -> None:
    """List the tasks that some worker has declared, with what their code says of their jobs.

    `workers` is how many live workers run the task now.
    """
    tasks = with_store(dsn, lambda store: store.tasks())
    if as_json:
        print_json(tasks)
    else:
        show_table(COLUMNS, [row(task) for task in tasks])


@task_command.command("show", cls=RichCommand)
@click.argument("name")
@dsn_option
@json_option
def show_task(name: str, dsn: str | None, as_json: bool) -> None:
    """Show a task with all its settings and the arguments it takes. Exit code 3 if no worker has declared it."""

    async def read(store: Store) -> TaskRecord:
        found = await store.tasks(name)
        if not found:
            raise NotFound(f"no worker has declared a task {name}")
        return found[0]

    task = with_store(dsn, read)
    print_json(task) if as_json else print_fields(fields(task))


def row(task: TaskRecord) -> list[str]:
    settings = task.settings
    timeout = settings.get("timeout")
    return [
        task.name,
        *(str(settings.get(name, "")) for name in ("queue", "priority", "max_attempts")),
        "" if timeout is None else seconds(timeout),
        str(settings.get("executor", "")),
        f"{task.workers}",
    ]


def fields(task: TaskRecord) -> list[tuple[str, str]]:
    return [
        ("name", task.name),
        ("workers", f"{task.workers:,}"),
        ("declared", at(task.declared_at)),
        *([("changed", at(task.changed_at))] if task.changed_at else []),
        *((f"settings.{name}", in_json(value)) for name, value in task.settings.items()),
        ("args", "unknown" if task.args_schema is None else in_json(task.args_schema)),
    ]


def in_json(value: object) -> str:
    return msgspec.json.encode(value).decode()

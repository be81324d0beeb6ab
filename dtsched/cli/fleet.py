"""`dtsched workers list` and `show`: the workers that the database knows, on whatever machine they run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, say
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at, seconds, shown
from dtsched.errors import NotFound
from dtsched.overview import WorkerRecord
from dtsched.store import Store

COLUMNS = (
    Column("name", flexible=True),
    Column("state"),
    Column("queues", flexible=True),
    Column("running"),
    Column("cpu", from_width=80),
    Column("memory", from_width=80),
    Column("disk", from_width=80),
    Column("seen", from_width=60),
    Column("id", from_width=120),
)
USAGES = ("cpu_usage", "memory_usage", "disk_usage")


@click.command("list", cls=RichCommand)
@click.option("--state", type=click.Choice(["active", "draining", "lost"]), help="Only these.")
@dsn_option
@json_option
def list_workers(state: str | None, dsn: str | None, as_json: bool) -> None:
    """List the workers that the database knows, on whatever machine they run.

    `running` is how many jobs each holds, of how many it has slots for; `seen` when it last gave a sign of life. Lost
    ones are kept for a day.
    """

    async def read(store: Store) -> tuple[list[WorkerRecord], datetime]:
        return await store.workers(), await store.now()

    workers, now = with_store(dsn, read)
    workers = [worker for worker in workers if state in (None, worker.state)]
    if as_json:
        print_json(workers)
    else:
        show_table(COLUMNS, [row(worker, now) for worker in workers])


def row(worker: WorkerRecord, now: datetime) -> list[str]:
    return [
        worker.name,
        worker.state,
        ",".join(worker.queues),
        f"{worker.running}/{worker.slots}",
        *(usage(worker, name) for name in USAGES),
        ago(worker, now),
        str(worker.id),
    ]


def usage(worker: WorkerRecord, name: str) -> str:
    """Empty where it says nothing of it; what a worker in another language sends may be anything."""
    told: object = worker.info.get("system_info")
    figure = cast("dict[str, object]", told).get(name) if isinstance(told, dict) else None
    return f"{figure:.0f}%" if isinstance(figure, (int, float)) and not isinstance(figure, bool) else ""


def ago(worker: WorkerRecord, now: datetime) -> str:
    """By the database's clock, which wrote when it was."""
    return f"{seconds(max(0.0, (now - worker.seen_at).total_seconds()))} ago"


@click.command("show", cls=RichCommand)
@click.argument("worker", metavar="ID|NAME")
@dsn_option
@json_option
def show_worker(worker: str, dsn: str | None, as_json: bool) -> None:
    """Show a worker. Of several that have the name it is one that lives, else the newest.

    Exit code 3 if there is none, or no more: lost ones are kept for a day.
    """

    async def read(store: Store) -> tuple[list[WorkerRecord], datetime]:
        return await named(store, worker), await store.now()

    found, now = with_store(dsn, read)
    if not found:
        raise NotFound(f"there is no worker {worker}")
    if len(found) > 1:
        say(f"{len(found)} workers are called {worker}: this is {found[0].id}, `dtsched workers list` has all")
    print_json(found[0]) if as_json else print_fields(fields(found[0], now))


async def named(store: Store, text: str) -> list[WorkerRecord]:
    """The one to be shown comes first."""
    try:
        by_id = await store.workers(UUID(text))
    except ValueError:
        by_id = []
    return by_id or chosen([each for each in await store.workers() if each.name == text])


def chosen(workers: Sequence[WorkerRecord]) -> list[WorkerRecord]:
    return sorted(workers, key=lambda each: (each.state != "lost", each.started_at), reverse=True)


def fields(worker: WorkerRecord, now: datetime) -> list[tuple[str, str]]:
    texts = {
        **{name: shown(getattr(worker, name)) for name in WorkerRecord.__struct_fields__ if name != "info"},
        "id": str(worker.id),
        "queues": ", ".join(worker.queues),
        "tasks": "any" if worker.tasks is None else ", ".join(worker.tasks),
        "running": f"{worker.running} of {worker.slots} slots",
        "slots": None,
        "labels": shown(worker.labels) if worker.labels else None,
        "lease_seconds": f"{worker.lease_seconds:g}",
        "seen_at": f"{at(worker.seen_at)}, {ago(worker, now)}",
        **flat("info", worker.info),
    }
    return [(name, text) for name, text in texts.items() if text]


def flat(path: str, value: object) -> dict[str, str]:
    """Members of objects by their paths, such as info.system_info.cpu_usage."""
    if not isinstance(value, dict):
        return {path: value if isinstance(value, str) else msgspec.json.encode(value).decode()}
    found: dict[str, str] = {}
    for name, member in cast("dict[str, Any]", value).items():
        found |= flat(f"{path}.{name}", member)
    return found

"""`dtsched queue`: the queues in figures, and whether workers may take from them."""

from collections.abc import Awaitable, Callable, Sequence

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.checks import check_name
from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, print_table
from dtsched.cli.queue_settings import drain_queue, limit_queue, queue_of, set_queue
from dtsched.cli.retention import duration, retention_command
from dtsched.cli.settings import shown_settings
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at, breaker, seconds
from dtsched.overview import Queue, Retention
from dtsched.store import Store

COLUMNS = (
    Column("name", flexible=True),
    Column("state"),
    Column("ready"),
    Column("parked", from_width=120),
    Column("scheduled", from_width=80),
    Column("blocked", from_width=80),
    Column("running"),
    Column("oldest", from_width=60),
    Column("done/s", from_width=100),
    Column("failed/s", from_width=100),
    Column("workers", from_width=60),
    Column("slots", from_width=120),
)


class Switched(msgspec.Struct, frozen=True):
    """`changed` is False where it was so before."""

    name: str
    paused: bool
    changed: bool


@click.group("queue", cls=RichGroup)
def queue_command() -> None:
    """Look at queues, pause and resume them, and change what holds for them."""


queue_command.add_command(set_queue)
queue_command.add_command(limit_queue)
queue_command.add_command(drain_queue)


@queue_command.command("list", cls=RichCommand)
@dsn_option
@json_option
def list_queues(dsn: str | None, as_json: bool) -> None:
    """List the queues with what waits and runs in them.

    `oldest` is how long the next job has been ready. Rates are of this minute and the four before.
    """
    queues = with_store(dsn, lambda store: store.queues())
    if as_json:
        print_json(queues)
    else:
        show_queues(queues)


def show_queues(queues: Sequence[Queue]) -> None:
    show_table(COLUMNS, [row(queue) for queue in queues])


def row(queue: Queue) -> list[str]:
    return [
        queue.name,
        state(queue),
        *(f"{count}" for count in (queue.ready, queue.parked, queue.scheduled, queue.blocked, queue.running)),
        oldest(queue),
        f"{queue.completed_per_second:.1f}",
        f"{queue.failed_per_second:.1f}",
        f"{queue.workers}",
        f"{queue.slots}",
    ]


def state(queue: Queue) -> str:
    return "paused" if queue.paused_at else "breaker open" if queue.open_until else "active"


def oldest(queue: Queue) -> str:
    return "" if queue.oldest_ready_seconds is None else seconds(max(0.0, queue.oldest_ready_seconds))


@queue_command.command("show", cls=RichCommand)
@click.argument("name")
@dsn_option
@json_option
def show_queue(name: str, dsn: str | None, as_json: bool) -> None:
    """Show a queue. Exit code 3 if no job, worker or command has named it."""

    async def read(store: Store) -> tuple[Queue, Retention]:
        return await queue_of(store, name), (await store.retention(name))[0]

    queue, kept = with_store(dsn, read)
    print_json(queue) if as_json else print_fields([*fields(queue), ("kept", kept_for(kept))])


def fields(queue: Queue) -> list[tuple[str, str]]:
    return [
        ("name", queue.name),
        ("state", f"paused since {at(queue.paused_at)}" if queue.paused_at else "active"),
        (
            "ready",
            f"{queue.ready:,}"
            + (f", {queue.parked:,} of them for a limit key or an unknown task" if queue.parked else ""),
        ),
        ("scheduled", f"{queue.scheduled:,}"),
        ("blocked", f"{queue.blocked:,}"),
        ("running", f"{queue.running:,}"),
        ("oldest ready", oldest(queue) or "none"),
        ("completed", f"{queue.completed_per_second:.1f} a second"),
        ("failed", f"{queue.failed_per_second:.1f} a second"),
        ("workers", f"{queue.workers:,} with {queue.slots:,} slots"),
        *(
            [("breaker", breaker(queue.open_until) or "closed")]
            if "breaker" in queue.settings or queue.open_until
            else []
        ),
        *((f"settings.{name}", value) for name, value in shown_settings(queue.settings)),
    ]


def kept_for(kept: Retention) -> str:
    members = {"completed": kept.completed, "failed": kept.failed, "cancelled": kept.cancelled, "results": kept.results}
    return ", ".join(f"{name} {duration(seconds)}" for name, seconds in members.items())


queue_command.add_command(retention_command)


@queue_command.command("pause", cls=RichCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@dsn_option
@json_option
def pause_queues(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Keep workers from taking jobs of these queues. What runs goes on, and jobs can be submitted.

    A queue may be paused before there is anything in it. Code 0 also for one that was paused before.
    """
    switched = switch(names, lambda store, name: store.pause(name), dsn, paused=True)
    tell(switched, as_json=as_json)


@queue_command.command("resume", cls=RichCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@dsn_option
@json_option
def resume_queues(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Let workers take jobs of these queues again. Code 0 also for one that was not paused."""
    switched = switch(names, lambda store, name: store.resume(name), dsn, paused=False)
    tell(switched, as_json=as_json)


def switch(
    names: Sequence[str], act: Callable[[Store, str], Awaitable[bool]], dsn: str | None, *, paused: bool
) -> list[Switched]:
    """In the order given. A name that cannot be one keeps all as they are."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        check_name("queue", name)

    async def switch_all(store: Store) -> list[Switched]:
        return [Switched(name, paused, await act(store, name)) for name in wanted]

    return with_store(dsn, switch_all)


def tell(switched: Sequence[Switched], *, as_json: bool) -> None:
    if as_json:
        print_json(switched)
    else:
        print_table(["name", "outcome"], [[each.name, outcome(each)] for each in switched])


def outcome(switched: Switched) -> str:
    if switched.changed:
        return "paused" if switched.paused else "resumed"
    return "was paused before" if switched.paused else "was not paused"

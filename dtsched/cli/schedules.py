"""`dtsched schedule`: what is submitted at fixed times."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import cast, get_args

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, print_table, say
from dtsched.cli.submit import parse_pairs, read_args
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at, shown
from dtsched.errors import NotFound
from dtsched.jobs import Submitted
from dtsched.schedules import (
    Catchup,
    NewSchedule,
    Overlap,
    Schedule,
    Tick,
    check_schedule,
    check_schedule_name,
    in_zone,
    next_times,
)
from dtsched.store import Store

COLUMNS = (
    Column("name", flexible=True),
    Column("state"),
    Column("spec", flexible=True),
    Column("tz", from_width=100),
    Column("task", flexible=True, from_width=80),
    Column("next", from_width=60),
    Column("last", from_width=120),
    Column("outcome", from_width=120),
)


class Saved(msgspec.Struct, frozen=True):
    """`created` is False where one of that name has another definition now."""

    name: str
    created: bool


class Switched(msgspec.Struct, frozen=True):
    """`changed` is False where it was so before."""

    name: str
    paused: bool
    changed: bool


class Removed(msgspec.Struct, frozen=True):
    name: str
    removed: bool


class Shown(msgspec.Struct, frozen=True):
    schedule: Schedule
    ticks: list[Tick]


class Coming(msgspec.Struct, frozen=True):
    """The next times, as the clocks of its zone show them."""

    name: str
    tz: str
    times: list[datetime]


@click.group("schedule", cls=RichGroup)
def schedule_command() -> None:
    """Make schedules and look at them, pause, resume, run and remove them."""


@schedule_command.command("list", cls=RichCommand)
@dsn_option
@json_option
def list_schedules(dsn: str | None, as_json: bool) -> None:
    """List the schedules with their next times, as the clocks of their zones show them."""
    schedules = with_store(dsn, lambda store: store.schedules())
    print_json(schedules) if as_json else show_table(COLUMNS, [row(schedule) for schedule in schedules])


def row(schedule: Schedule) -> list[str]:
    return [
        schedule.name,
        state(schedule),
        schedule.spec,
        schedule.tz,
        schedule.task,
        time(schedule.next_at, schedule),
        time(schedule.last_tick, schedule),
        schedule.last_outcome or "",
    ]


def state(schedule: Schedule) -> str:
    if schedule.paused_at is not None:
        return "paused"
    return "active" if schedule.problem is None else "problem"


def time(moment: datetime | None, schedule: Schedule) -> str:
    return "" if moment is None else in_zone(moment, schedule.tz).isoformat(sep=" ", timespec="seconds")


@schedule_command.command("add", cls=RichCommand)
@click.argument("name")
@click.argument("spec")
@click.argument("task")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--args", "args_text", metavar="JSON", help="Arguments as an object; @FILE reads a file, - reads stdin.")
@click.option("--tz", metavar="ZONE", help="The zone of the times, such as Europe/Berlin. Default: UTC.")
@click.option("--queue", metavar="NAME", help="Default: what the task declares, or default.")
@click.option("--priority", type=int, metavar="1-10", help="10 goes first. Default: what the task declares, or 5.")
@click.option("--max-attempts", type=int, metavar="N", help="Default: what the task declares, or the queue, or 5.")
@click.option("--timeout", metavar="DURATION", help="For each attempt. Default: what the task declares, or none.")
@click.option("--limit-key", metavar="KEY", help="Jobs of one limit key share its limit.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@click.option(
    "--catchup",
    type=click.Choice(get_args(Catchup)),
    help="Of the ticks that an outage made late: none, the latest or all are made up for. Default: latest.",
)
@click.option("--catchup-limit", type=int, metavar="N", help="At most so many, the newest, with all. Default: 100.")
@click.option(
    "--overlap",
    type=click.Choice(get_args(Overlap)),
    help="While a job of it is unfinished: allow another one, skip the tick, or cancel that job. Default: allow.",
)
@click.option("--tolerance", metavar="DURATION", help="A tick is late after this. Default: 1m.")
@dsn_option
@json_option
def add_schedule(
    name: str,
    spec: str,
    task: str,
    pairs: tuple[str, ...],
    args_text: str | None,
    tz: str | None,
    queue: str | None,
    priority: int | None,
    max_attempts: int | None,
    timeout: str | None,
    limit_key: str | None,
    tags: tuple[str, ...],
    catchup: str | None,
    catchup_limit: int | None,
    overlap: str | None,
    tolerance: str | None,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Make a schedule, or give the one of that name another definition.

    SPEC is cron with five fields, or six with seconds first ("0 9 * * mon-fri"), @hourly, @daily, @weekly, @monthly or
    @yearly, or an interval ("every 10m"). KEY=VALUE are the arguments of its jobs, as `dtsched submit` takes them.
    """
    schedule = check_schedule(
        name,
        NewSchedule(
            spec=spec,
            task=task,
            args={**read_args(args_text), **parse_pairs(pairs)},
            tz=tz,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            timeout=timeout,
            limit_key=limit_key,
            tags=list(tags) or None,
            catchup=cast("Catchup | None", catchup),
            catchup_limit=catchup_limit,
            overlap=cast("Overlap | None", overlap),
            tolerance=tolerance,
        ),
    )
    created = with_store(dsn, lambda store: store.save_schedule(name, schedule))
    if as_json:
        print_json(Saved(name, created))
    else:
        print_table(["name", "outcome"], [[name, "made" if created else "changed"]])


@schedule_command.command("show", cls=RichCommand)
@click.argument("name")
@dsn_option
@json_option
def show_schedule(name: str, dsn: str | None, as_json: bool) -> None:
    """Show a schedule and what became of its last twenty ticks. Exit code 3 if there is none of that name."""

    async def read(store: Store) -> Shown:
        return Shown(await one(store, name), await store.ticks(name))

    found = with_store(dsn, read)
    if as_json:
        print_json(found)
        return
    print_fields(fields(found.schedule))
    if found.ticks:
        click.echo()
        rows = [[time(tick.tick, found.schedule), tick.outcome, shown(tick.job_id) or ""] for tick in found.ticks]
        print_table(["tick", "outcome", "job"], rows)


async def one(store: Store, name: str) -> Schedule:
    found = await store.schedules(name)
    if not found:
        raise NotFound(f"there is no schedule {name}")
    return found[0]


def fields(schedule: Schedule) -> list[tuple[str, str]]:
    """What is the default is left out of the job's options."""
    told = {
        "state": f"paused since {at(schedule.paused_at)}" if schedule.paused_at else state(schedule),
        "next": time(schedule.next_at, schedule),
        "last": time(schedule.last_tick, schedule),
    }
    first = ("name", "problem", "spec", "tz", "task")
    others = [name for name in Schedule.__struct_fields__ if name not in (*first, "paused_at", "next_at", "last_tick")]
    values = {name: shown(getattr(schedule, name)) for name in (*first, *others)}
    lines = {"name": values["name"], **told, **values}
    return [(name, value) for name, value in lines.items() if value]


@schedule_command.command("pause", cls=RichCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@dsn_option
@json_option
def pause_schedules(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Keep these schedules from firing. Code 0 also for one that was paused before."""
    tell_switched(switch(names, lambda store, name: store.pause_schedule(name), dsn, paused=True), as_json=as_json)


@schedule_command.command("resume", cls=RichCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@dsn_option
@json_option
def resume_schedules(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Let these schedules fire again, from now on. Code 0 also for one that was not paused."""
    tell_switched(switch(names, lambda store, name: store.resume_schedule(name), dsn, paused=False), as_json=as_json)


def switch(
    names: Sequence[str], act: Callable[[Store, str], Awaitable[bool]], dsn: str | None, *, paused: bool
) -> list[Switched]:
    """In the order given, all or none."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        check_schedule_name(name)

    async def switch_all(store: Store) -> list[Switched]:
        await require_all(store, wanted)
        async with store.transaction():
            changed = {name: await act(store, name) for name in sorted(wanted)}  # rows are locked in one order
        return [Switched(name, paused, changed[name]) for name in wanted]

    return with_store(dsn, switch_all)


async def require_all(store: Store, names: Sequence[str]) -> None:
    """Where several calls are not one transaction: before the first of them."""
    if not store.spans_calls:
        for name in sorted(names):
            if not await store.schedules(name):
                raise NotFound(f'there is no schedule "{name}"')


def tell_switched(switched: Sequence[Switched], *, as_json: bool) -> None:
    if as_json:
        print_json(switched)
    else:
        print_table(["name", "outcome"], [[each.name, outcome(each)] for each in switched])


def outcome(switched: Switched) -> str:
    if switched.changed:
        return "paused" if switched.paused else "resumed"
    return "was paused before" if switched.paused else "was not paused"


@schedule_command.command("run", cls=RichCommand)
@click.argument("name")
@dsn_option
@json_option
def run_schedule(name: str, dsn: str | None, as_json: bool) -> None:
    """Submit the job of a schedule now, and print its id. Its times stay as they are."""
    submitted: Submitted = with_store(dsn, lambda store: store.run_schedule(name))
    if not submitted.created:
        say(f"job {submitted.id} of it is unfinished, and its overlap is skip: no other one was submitted")
    print_json(submitted) if as_json else click.echo(submitted.id)


@schedule_command.command("next", cls=RichCommand)
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many.")
@dsn_option
@json_option
def print_next(name: str, count: int, dsn: str | None, as_json: bool) -> None:
    """Print the next times of a schedule, as the clocks of its zone show them."""

    async def read(store: Store) -> tuple[Schedule, datetime]:
        return await one(store, name), await store.now()

    schedule, now = with_store(dsn, read)
    times = [in_zone(tick, schedule.tz) for tick in next_times(schedule.spec, schedule.tz, now, count)]
    if as_json:
        print_json(Coming(name, schedule.tz, times))
    else:
        for tick in times:
            click.echo(tick.isoformat(sep=" ", timespec="seconds"))


@schedule_command.command("remove", cls=RichCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@dsn_option
@json_option
def remove_schedules(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Remove schedules; what they have submitted goes on.

    Exit code 4 for one that the code of running workers declares: pause it instead.
    """
    wanted = list(dict.fromkeys(names))

    async def remove_all(store: Store) -> None:
        await require_all(store, wanted)
        async with store.transaction():
            for name in sorted(wanted):
                await store.unschedule(name)

    with_store(dsn, remove_all)
    if as_json:
        print_json([Removed(name, True) for name in wanted])
    else:
        print_table(["name", "outcome"], [[name, "removed"] for name in wanted])

"""`dtsched limit`: limit keys, their limits, and what runs and waits under them."""

import click
from msgspec.structs import asdict
from rich_click import RichCommand, RichGroup

from dtsched.checks import check_name
from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, say
from dtsched.cli.settings import rate as rate_text
from dtsched.cli.settings import whole
from dtsched.cli.tables import show_table
from dtsched.cli.wording import breaker
from dtsched.errors import InvalidInput
from dtsched.limits import checked_limit
from dtsched.overview import HeldLimits, LimitRecord, untouched
from dtsched.store import Store

PAGE = 200
COLUMNS = (
    Column("key", flexible=True),
    Column("limit"),
    Column("rate", from_width=60),
    Column("burst", from_width=80),
    Column("running"),
    Column("waiting"),
    Column("breaker", from_width=100),
)


@click.group("limit", cls=RichGroup)
def limit_command() -> None:
    """Look at limit keys, and set their limits."""


@limit_command.command("list", cls=RichCommand)
@click.option("--after", metavar="KEY", help="Only those after this key.")
@click.option("--limit", "count", type=click.IntRange(1), default=PAGE, show_default=True, help="At most so many.")
@dsn_option
@json_option
def list_limits(after: str | None, count: int, dsn: str | None, as_json: bool) -> None:
    """List the limit keys that have limits of their own, jobs that run, or jobs that wait.

    What is empty is as the queue of a job says. `waiting` is counted up to 10,000.
    """

    async def read(store: Store) -> list[LimitRecord]:
        found: list[LimitRecord] = []
        while len(found) < count:
            room = min(PAGE, count - len(found))
            page = await store.limits(after=found[-1].limit_key if found else after, limit=room)
            found += page
            if len(page) < room:
                break
        return found

    found = with_store(dsn, read)
    if as_json:
        print_json(found)
        return
    show_table(COLUMNS, [row(limit) for limit in found])
    if len(found) == count:
        say(f"there may be more: --after {found[-1].limit_key!r} goes on")


@limit_command.command("show", cls=RichCommand)
@click.argument("key")
@click.option("--queue", metavar="NAME", default="default", show_default=True, help="Whose defaults hold for the key.")
@dsn_option
@json_option
def show_limit(key: str, queue: str, dsn: str | None, as_json: bool) -> None:
    """Show a limit key, also one that nobody has used yet, and what holds for it among the jobs of a queue."""
    checked_limit(key)
    check_name("queue", queue)

    async def read(store: Store) -> tuple[LimitRecord, HeldLimits]:
        return await store.limit(key) or untouched(key), await store.effective_limits(key, queue)

    found, held = with_store(dsn, read)
    if as_json:
        print_json({**asdict(found), "effective": asdict(held)})
    else:
        print_fields([*fields(found), (f"in queue {held.queue}", in_words(held))])


def in_words(held: HeldLimits) -> str:
    rate = "" if held.rate is None else f", {rate_text(held.rate)}, {held.burst} after a quiet while"
    return f"{held.concurrency} at once{rate}"


@limit_command.command("set", cls=RichCommand)
@click.argument("key")
@click.argument("concurrency", metavar="[N]", required=False)
@click.option("--rate", metavar="RATE", help="Jobs that start, as 10/s, 100/m, 5000/h, 1/d.")
@click.option("--burst", metavar="N", help="How many start at once after a quiet while. Default: a second's worth.")
@click.option("--default", "as_queue_says", is_flag=True, help="Take its own limits away.")
@dsn_option
@json_option
def set_limit(
    key: str,
    concurrency: str | None,
    rate: str | None,
    burst: str | None,
    as_queue_says: bool,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Set the limits of a limit key: N jobs at once, 0 holds them all.

    What is not given is from now on as the queue of a job says, and one at a time where that says nothing.

    \b
    dtsched limit set tenant-7 3 --rate 10/s --burst 20
    dtsched limit set tenant-7 --default
    """
    if as_queue_says != all(given is None for given in (concurrency, rate, burst)):
        raise InvalidInput("give N, --rate or --burst, or --default alone", field="concurrency")
    count, most = (None if text is None else whole(text) for text in (concurrency, burst))
    limit = checked_limit(key, count, rate, most)
    found = with_store(dsn, lambda store: store.set_limit(limit))
    print_json(found) if as_json else print_fields(fields(found))


def row(limit: LimitRecord) -> list[str]:
    return [
        limit.limit_key,
        "" if limit.concurrency is None else f"{limit.concurrency}",
        "" if limit.rate is None else rate_text(limit.rate),
        "" if limit.burst is None else f"{limit.burst}",
        f"{limit.running}",
        f"{limit.waiting}",
        breaker(limit.open_until),
    ]


def fields(limit: LimitRecord) -> list[tuple[str, str]]:
    shown = dict(zip((column.name for column in COLUMNS), row(limit), strict=True))
    return [(name, value or ("closed" if name == "breaker" else "as the queue says")) for name, value in shown.items()]

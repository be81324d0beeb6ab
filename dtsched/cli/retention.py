"""`dtsched queue retention`: how long ended jobs are kept."""

import math
from collections.abc import Sequence

import click
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, print_table
from dtsched.errors import InvalidInput
from dtsched.overview import Retention
from dtsched.settings import parse_duration
from dtsched.store import Store

MEMBERS = ("completed", "failed", "cancelled", "results")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


@click.command("retention", cls=RichCommand)
@click.argument("name", required=False)
@click.option("--completed", metavar="DURATION", help="Keep completed jobs that long, as in 7d.")
@click.option("--failed", metavar="DURATION", help="Keep failed jobs that long.")
@click.option("--cancelled", metavar="DURATION", help="Keep cancelled jobs that long.")
@click.option("--results", metavar="DURATION", help="Keep the results of completed jobs that long, if not as long.")
@dsn_option
@json_option
def retention_command(
    name: str | None,
    completed: str | None,
    failed: str | None,
    cancelled: str | None,
    results: str | None,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Show how long ended jobs are kept, or set it: of queue NAME, or without one, of all that say nothing themselves.

    A DURATION is like 12h or 30d, "forever", or "default" to say nothing any more.

    \b
    dtsched queue retention mail --completed 1h --failed forever
    """
    given = dict(zip(MEMBERS, (completed, failed, cancelled, results), strict=True))
    changes = {member: meant(member, text) for member, text in given.items() if text is not None}

    async def act(store: Store) -> list[Retention]:
        if changes:
            await store.set_retention(changes, name)
        return await store.retention(name)

    kept = with_store(dsn, act)
    if as_json:
        print_json(kept)
    else:
        print_table(["queue", *MEMBERS], [[each.queue or "(others)", *written(each)] for each in kept])


def meant(member: str, text: str) -> float | str | None:
    if text in ("forever", "default"):
        return None if text == "default" else text
    try:
        return parse_duration(text, field=f"retention.{member}")
    except InvalidInput as error:
        raise InvalidInput(
            f'--{member} must be a duration like 12h or 30d, "forever" or "default", not {text[:40]!r}', field=member
        ) from error


def written(kept: Retention) -> Sequence[str]:
    return [duration(kept.completed), duration(kept.failed), duration(kept.cancelled), duration(kept.results)]


def duration(seconds: float | None) -> str:
    if seconds is None or math.isinf(seconds):
        return "forever"
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"

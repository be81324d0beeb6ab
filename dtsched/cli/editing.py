"""`dtsched edit`: other args, another queue or priority for jobs that wait, have failed or were cancelled."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

import click
from rich_click import RichCommand

from dtsched.cli.acting import EDIT
from dtsched.cli.actions import Given, acting_options, perform
from dtsched.cli.submit import parse_pair
from dtsched.cli.times import parse_time
from dtsched.edits import checked_changes
from dtsched.errors import InvalidInput
from dtsched.store import Store


@click.command("edit", cls=RichCommand)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    required=True,
    help="args.KEY, args, queue, priority, max_attempts, timeout, tags, limit_key or deadline; repeatable.",
)
@acting_options
def edit_command(settings: tuple[str, ...], **given: Unpack[Given]) -> int:
    """Change jobs that wait, have failed or were cancelled. `dtsched retry` has ended ones run again.

    A VALUE that is JSON is taken as such, any other is a string; null takes timeout, limit_key or deadline away.

    Exit code 3 if one is missing, else 4 if one runs, has completed, would have args that are too large, or was being
    changed by somebody else. With --where only the last counts.

    \b
    dtsched edit 42 --set args.to=right@x.org --set priority=9
    dtsched edit --where 'state:failed queue:mail error:Timeout' --set timeout=5m --dry-run
    """
    return perform(EDIT, partial(edit, changes=parse_changes(settings)), given)


async def edit(store: Store, ids: Sequence[int], *, changes: dict[str, Any]) -> dict[int, str]:
    return await store.edit(ids, changes)


def parse_changes(settings: Sequence[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in settings:
        name, value = parse_pair(setting, blamed="--set takes NAME=VALUE")
        text = setting.partition("=")[2]
        if name.startswith("args."):
            changes.setdefault("merge_args", {})[name.removeprefix("args.")] = value
        elif name in ("queue", "limit_key") and value is not None:
            changes[name] = text
        elif name == "deadline" and value is not None:
            changes[name] = parse_time(text, field="deadline")
        else:
            changes[name] = value
    if "merge_args" in changes and "args" in changes:
        raise InvalidInput("args and args.KEY exclude each other: give one", field="args")
    return checked_changes(changes)

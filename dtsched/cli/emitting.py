"""`dtsched emit`: says that an event has happened."""

import json
from typing import cast

import click
import msgspec
from rich_click import RichCommand

from dtsched.checks import check_event
from dtsched.cli.database import with_store
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.errors import InvalidInput


class Told(msgspec.Struct, frozen=True):
    """`created` is False where the event had been emitted before; `woken` jobs went on at once."""

    name: str
    created: bool
    woken: int


@click.command("emit", cls=RichCommand)
@click.argument("name")
@click.argument("payload", metavar="[JSON]", required=False)
@dsn_option
@json_option
def emit_command(name: str, payload: str | None, dsn: str | None, as_json: bool) -> None:
    """Say that an event has happened, for the jobs that wait for it.

    Jobs that ask for it later are told, too. The first emit of a name wins: a second one changes nothing, and is no
    error. Prints how many jobs went on at once.

    \b
    dtsched emit paid:42
    dtsched emit paid:42 '{"amount": 5}'
    """
    raw = check_event(name, read_payload(payload))
    emitted = with_store(dsn, lambda store: store.emit(name, raw))
    if as_json:
        print_json(Told(name, emitted.created, emitted.woken))
        return
    if not emitted.created:
        say(f"event {name} had been emitted before, and that counts")
    click.echo(emitted.woken)


def read_payload(text: str | None) -> object:
    try:
        return None if text is None else cast("object", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the payload must be JSON, as in '{{\"amount\": 5}}': {error}", field="payload") from error

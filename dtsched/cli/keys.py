"""`dtsched key`: who may call the REST API, and what each may."""

from collections.abc import Sequence
from datetime import datetime

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.api_keys import SCOPES, KeyRecord, Scope, checked_key, new_key
from dtsched.cli.database import with_store
from dtsched.cli.layout import Column
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.tables import show_table
from dtsched.cli.wording import at_second
from dtsched.store import Store

COLUMNS = (
    Column("id"),
    Column("name", flexible=True),
    Column("state"),
    Column("scopes", flexible=True),
    Column("queues", flexible=True),
    Column("expires", from_width=80),
    Column("used", from_width=100),
    Column("created", from_width=120),
)


class Made(msgspec.Struct, frozen=True):
    """The only place where `key` is ever shown."""

    key: str
    id: str
    name: str
    scopes: Sequence[Scope]
    queues: Sequence[str] | None
    expires_at: datetime | None


@click.group("key", cls=RichGroup)
def key_command() -> None:
    """Make the API keys of the REST API, list and revoke them.

    As long as no key was ever made, the API listens on this machine alone and asks for none. This talks to the
    database, as the owner of the schema.
    """


@key_command.command("create", cls=RichCommand)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may; repeatable. operate and read-args include read, admin includes all.",
)
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="For this queue alone; repeatable. Default: all."
)
@click.option("--expires", metavar="DURATION", help="How long it lasts, such as 90d. Default: until it is revoked.")
@dsn_option
@json_option
def create_key(
    name: str, scopes: tuple[str, ...], queues: tuple[str, ...], expires: str | None, dsn: str | None, as_json: bool
) -> None:
    """Make a key and print it, this one time: only a hash of it is kept.

    NAME is whom it stands for. Two keys of one name may be in force, to replace one by the other; exit code 4 for a
    third.
    """
    wanted = checked_key(name, scopes, queues or None, expires)
    text, presented = new_key()

    async def create(store: Store) -> KeyRecord:
        return await store.create_key(wanted, presented)

    made = with_store(dsn, create, itself=True)
    say(f"key {made.id} of {made.name}: keep it now, it is not shown again")
    if as_json:
        print_json(Made(text, made.id, made.name, made.scopes, made.queues, made.expires_at))
    else:
        click.echo(text)


@key_command.command("list", cls=RichCommand)
@dsn_option
@json_option
def list_keys(dsn: str | None, as_json: bool) -> None:
    """List the keys by name, also those that have expired or were revoked; never what opens the API."""
    show(with_store(dsn, lambda store: store.keys(), itself=True), as_json=as_json)


@key_command.command("revoke", cls=RichCommand)
@click.argument("key", metavar="ID|NAME")
@dsn_option
@json_option
def revoke_key(key: str, dsn: str | None, as_json: bool) -> None:
    """End a key by its id, or all keys of a name. It counts within a second. Exit code 3 if there is none."""
    show(with_store(dsn, lambda store: store.revoke_key(key), itself=True), as_json=as_json)


def show(keys: Sequence[KeyRecord], *, as_json: bool) -> None:
    print_json(keys) if as_json else show_table(COLUMNS, [row(key) for key in keys])


def row(key: KeyRecord) -> list[str]:
    return [
        key.id,
        key.name,
        key.state,
        " ".join(key.scopes),
        "all" if key.queues is None else " ".join(key.queues),
        moment(key.expires_at),
        moment(key.last_used_at),
        moment(key.created_at),
    ]


def moment(value: datetime | None) -> str:
    return "" if value is None else at_second(value)

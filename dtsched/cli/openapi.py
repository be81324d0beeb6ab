"""`dtsched openapi`."""

import click
from rich_click import RichCommand

from dtsched.cli.output import print_json


@click.command("openapi", cls=RichCommand)
def openapi_command() -> None:
    """Print the OpenAPI document of the REST API, as JSON.

    It is what a server of this version serves as /openapi.json; no database is needed.
    """
    from dtsched.api.application import HANDLERS  # the web framework, for which `--help` need not wait
    from dtsched.api.openapi import describe

    print_json(describe(HANDLERS))

"""`dtsched api`: serves the REST API."""

import asyncio
from dataclasses import replace

import click
from rich_click import RichCommand

from dtsched.api.server import serve
from dtsched.cli.database import reachable, require_schema
from dtsched.cli.options import configure_logs, dsn_option, settings_of
from dtsched.cli.processes import follow_parent


@click.command("api", cls=RichCommand)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--log", type=click.Choice(["json", "text"]), help="Default: text on a terminal, else json.")
@click.option("--log-level", metavar="LEVEL", help="Default: INFO.")
@dsn_option
def api_command(host: str, port: int, log: str | None, log_level: str | None, dsn: str | None) -> None:
    """Serve the REST API.

    Without an API key it binds to loopback only. Once it serves it outlives the database's absences.
    """
    follow_parent()
    settings = settings_of(dsn, log=log, log_level=log_level)
    configure_logs(settings)
    with reachable(settings, create=True) as database:
        asyncio.run(require_schema(database))
        serve(replace(settings, dsn=database), host, port)

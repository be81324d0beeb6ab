"""`dtsched dev`: a database of its own that is kept, a worker and the API, in one tree of processes."""

import time
from pathlib import Path

import click
from rich_click import RichCommand

from dtsched import embedded, migrations
from dtsched.cli.database import DATA
from dtsched.cli.output import say
from dtsched.cli.processes import Family, termination_raises


@click.command("dev", cls=RichCommand)
@click.option("-A", "--app", "app", metavar="MODULE:APP", default="dtsched.workers.builtin:app", show_default=True)
@click.option("-q", "--queue", "queues", metavar="NAME[:SLOTS]", multiple=True, help="Default: those the app names.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Of the API.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True)
def dev_command(app: str, queues: tuple[str, ...], port: int, data: Path) -> None:
    """Run a kept database of one's own, a worker and the API, until Ctrl-C.

    Other commands reach the same database with --dsn embedded, from the same folder.
    """
    with termination_raises(), embedded.shared(data) as cluster:
        migrations.up(cluster.dsn)
        environment = {"DTSCHED_DSN": cluster.dsn, "DTSCHED_LOG": "text"}
        with Family(echoed=True) as family:
            family.start(
                "worker",
                ["worker", "-A", app, "--grace", "5s", *(part for queue in queues for part in ("-q", queue))],
                environment,
            )
            family.start("api", ["api", "--port", str(port)], environment)
            say(
                f"data in {data}; API on http://127.0.0.1:{port}; SQL by `dtsched psql --dsn embedded`; Ctrl-C ends all"
            )
            while True:
                family.require_all()
                time.sleep(0.2)

"""`dtsched prune`: deletes what is past its retention now. Workers do so by themselves, within a minute or two."""

import asyncio

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, print_table
from dtsched.store import Store


class Summary(msgspec.Struct):
    jobs: int = 0
    results: int = 0
    partitions: int = 0


@click.command("prune", cls=RichCommand)
@click.option("--dry-run", is_flag=True, help="Count the jobs that would go, by queue and state; reads them all.")
@dsn_option
@json_option
def prune_command(dry_run: bool, dsn: str | None, as_json: bool) -> None:
    """Delete ended jobs that are past their retention, with results and attempts.

    `dtsched queue retention` shows and sets it. Partitions that have become empty are dropped.
    """
    if dry_run:
        would_go = with_store(dsn, lambda store: store.past_retention())
        if as_json:
            print_json(would_go)
        else:
            print_table(["queue", "state", "jobs"], [[row.queue, row.state, str(row.jobs)] for row in would_go])
        return
    summary = with_store(dsn, prune)
    if as_json:
        print_json(summary)
    else:
        print_table(
            ["jobs", "results", "partitions"],
            [[str(summary.jobs), str(summary.results), str(summary.partitions)]],
        )


async def prune(store: Store) -> Summary:
    summary = Summary()
    pruned = await store.prune(everywhere=True)
    while True:
        summary.jobs += pruned.jobs
        summary.results += pruned.results
        summary.partitions += pruned.partitions
        if not pruned.more:
            return summary
        if not pruned.jobs:
            await asyncio.sleep(0.05)  # a worker is at it
        pruned = await store.prune()

"""`dtsched queue set`, `limit` and `drain`: what holds for a queue, and the end of what runs in it."""

from typing import Any

import click
from click.shell_completion import CompletionItem
from rich_click import RichCommand

from dtsched.checks import check_name
from dtsched.cli.awaiting import polls, said_to_go_on, seconds_of
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, say
from dtsched.cli.settings import NAMES, parse_settings, shown_settings, whole
from dtsched.cli.wording import jobs
from dtsched.errors import Conflict, NotFound
from dtsched.limits import checked_settings
from dtsched.overview import Queue
from dtsched.store import Store


def names_of_settings(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    return [CompletionItem(f"{name}=") for name in NAMES if f"{name}=".startswith(typed)]


@click.command("set", cls=RichCommand)
@click.argument("name")
@click.argument("settings", metavar="SETTING=VALUE...", nargs=-1, required=True, shell_complete=names_of_settings)
@dsn_option
@json_option
def set_queue(name: str, settings: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Change settings of a queue, those named and no others. An empty value, or `none`, takes one away.

    \b
    limit=5                 jobs of the queue that run at once, over all workers; 0 holds it
    rate=10/s burst=20      jobs that start a second (/m a minute, /h an hour, /d a day), and how many
                            at once after a quiet while
    key_limit, key_rate, key_burst   the same of each limit key that has none of its own
    aging=10m               how long a job waits before it goes ahead of younger ones of a higher priority
    breaker=5/1m/30s        after 5 failures within a minute nothing starts for 30 seconds
    key_breaker=5/1m/30s    the same of each limit key
    max_attempts=3 timeout=2m        for jobs that do not say it themselves
    retention.failed=30d    how long what has failed is kept; also completed, cancelled, results; or forever

    Workers heed it from their next claim on. What runs goes on.
    """
    check_name("queue", name)
    tell_settings(name, parse_settings(settings), dsn, as_json=as_json)


@click.command("limit", cls=RichCommand)
@click.argument("name")
@click.argument("count", metavar="N|none")
@dsn_option
@json_option
def limit_queue(name: str, count: str, dsn: str | None, as_json: bool) -> None:
    """Have at most N jobs of a queue run at once, over all workers; 0 holds it, `none` is without limit.

    Short for `dtsched queue set NAME limit=N`.
    """
    check_name("queue", name)
    tell_settings(name, checked_settings({"limit": None if count == "none" else whole(count)}), dsn, as_json=as_json)


def tell_settings(name: str, settings: dict[str, Any], dsn: str | None, *, as_json: bool) -> None:
    """Those that the queue has after the change."""
    found = with_store(dsn, lambda store: store.set_queue(name, settings))
    if as_json:
        print_json(found)
    elif found:
        print_fields(shown_settings(found))
    else:
        say(f"queue {name} has no settings")


@click.command("drain", cls=RichCommand)
@click.argument("name")
@click.option(
    "--timeout", metavar="DURATION", help="Wait at most this long. Exit code 124 then; the queue stays paused."
)
@dsn_option
@json_option
def drain_queue(name: str, timeout: str | None, dsn: str | None, as_json: bool) -> int:
    """Pause a queue, and wait until none of its jobs runs any more. `dtsched queue resume` lets it go on."""
    check_name("queue", name)
    seconds = seconds_of(timeout, flag="--timeout")

    async def drain(store: Store) -> tuple[Queue, bool]:
        await store.pause(name)
        left: int | None = None
        with said_to_go_on(lambda: f"queue {name} stays paused: `dtsched queue resume {name}` lets it go on"):
            async for _ in polls(seconds):
                drained = await store.drained(name)
                queue = await queue_of(store, name)
                if queue.paused_at is None:
                    raise Conflict(f"queue {name} was resumed meanwhile")
                if queue.running != left and queue.running:
                    say(f"{jobs(queue.running)} of queue {name} still running")
                left = queue.running
                if drained:
                    return queue, True
        return await queue_of(store, name), False

    queue, drained = with_store(dsn, drain)
    if as_json:
        print_json(queue)
    if drained:
        say(f"queue {name} is paused, and none of its jobs runs")
        return ExitCode.OK
    left = jobs(queue.running) if queue.running else "a claim"
    say(f"{left} of queue {name} still running after that time; it stays paused")
    return ExitCode.TIMED_OUT


async def queue_of(store: Store, name: str) -> Queue:
    found = await store.queues(name)
    if not found:
        raise NotFound(f"there is no queue {name}")
    return found[0]

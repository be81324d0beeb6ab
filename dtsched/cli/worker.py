"""`dtsched worker`: runs the jobs of an app's tasks until it is told to stop."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import click
from rich_click import RichCommand

from dtsched import App
from dtsched.checks import check_name
from dtsched.cli.database import reachable
from dtsched.cli.exits import ExitCode
from dtsched.cli.importing import import_user_module
from dtsched.cli.options import configure_logs, dsn_option, passed_on, settings_of
from dtsched.cli.processes import announce, follow_parent
from dtsched.cli.supervisor import DSN_GIVEN, MOST, supervise
from dtsched.errors import InvalidInput
from dtsched.runtime.worker import Worker
from dtsched.settings import Settings, parse_duration

SLOTS = 10
F = TypeVar("F", bound=Callable[..., object])


def serving_options(function: F) -> F:
    """What every command that starts workers asks for."""
    for option in reversed(
        (
            click.option(
                "-A",
                "--app",
                "target",
                metavar="MODULE:APP",
                required=True,
                help="Such as dtsched.workers.builtin:app.",
            ),
            click.option(
                "-q",
                "--queue",
                "queues",
                metavar="NAME[:SLOTS]",
                multiple=True,
                help="Repeatable; 10 slots by default.",
            ),
            click.option("--lease", metavar="DURATION", help="How long its jobs wait if it dies. Default: 30s."),
            click.option("--poll", metavar="DURATION", help="How long a missed wake-up can cost. Default: 1s."),
            click.option(
                "--grace",
                metavar="DURATION",
                default="30s",
                show_default=True,
                help="For running jobs when told to stop.",
            ),
            click.option("--log", type=click.Choice(["json", "text"]), help="Default: text on a terminal, else json."),
            click.option("--log-level", metavar="LEVEL", help="Default: INFO."),
        )
    ):
        function = option(function)
    return function


@click.command("worker", cls=RichCommand)
@serving_options
@click.option("--name", help="What it is called in lists, and several with -1, -2, … after that. Default: the host.")
@click.option(
    "--processes",
    type=click.IntRange(1, MOST),
    help="Run so many processes and start those again that die. Default: this one alone.",
)
@click.option("--drain", is_flag=True, help="End with code 0 when nothing is left that could run here now.")
@dsn_option
def worker_command(
    target: str,
    queues: tuple[str, ...],
    name: str | None,
    lease: str | None,
    poll: str | None,
    grace: str,
    log: str | None,
    log_level: str | None,
    processes: int | None,
    drain: bool,
    dsn: str | None,
) -> int:
    """Run the jobs of an app's tasks.

    Without -q it serves `default` and the queues that the app's tasks name. SIGTERM and Ctrl-C stop it in order:
    nothing more is claimed, running jobs get their grace, the rest is handed back. A second one ends the grace.
    A running job that is handed back counts as a crash of its worker; three of those fail it.

    With --drain it ends when it runs nothing and its queues have no ready job for its tasks. Jobs that its own have
    released or that are to be tried again at once still run; paused queues, jobs that are scheduled for later, blocked,
    or run by other workers are not waited for.

    With --processes one that dies is started again after 0.5 s, then after twice that, up to 30 s; what keeps the
    first from starting, or a usage error (code 2), ends all. One that ends with code 0 was told to and stays away.
    """
    follow_parent()
    settings = settings_of(dsn, worker_name=name, lease=lease, poll=poll, log=log, log_level=log_level)
    configure_logs(settings, for_jobs=True)
    grace_seconds = parse_duration(grace, field="--grace")
    given = parse_queues(queues)
    if processes is not None:
        arguments = passed_on(click.get_current_context(), without=("name", "processes", "dsn"))
        return supervise(
            settings,
            ["worker", *arguments],
            processes=processes,
            grace_seconds=grace_seconds,
            dsn_given=dsn is not None,
        )
    app = load_app(target)
    served = given or app.default_queues()
    if dsn is None and DSN_GIVEN not in os.environ:
        settings = replace(settings, dsn=app.settings.dsn)  # the app may name a database of its own
    with reachable(settings, create=True) as database:
        asyncio.run(serve(app, replace(settings, dsn=database), served, grace_seconds, drain=drain))
    return ExitCode.OK


def _begun() -> None:
    """What is there by now stays for as long as the worker: the collector is not to look at it again and again, which
    would cost short jobs a sixth."""
    gc.collect()
    gc.freeze()
    announce(str(os.getpid()))


async def serve(app: App, settings: Settings, queues: dict[str, int], grace_seconds: float, *, drain: bool) -> None:
    worker = Worker(
        app.registry,
        settings,
        queues,
        grace_seconds=grace_seconds,
        drain=drain,
        on_registered=_begun,
    )
    worker.stop_on_signals()
    try:
        await worker.run()
    finally:
        await app.close()
    if worker.stuck_slots:
        os._exit(ExitCode.ERROR)  # asyncio.run() would wait for ever for handlers that heed no cancellation


def load_app(target: str) -> App:
    """Imports from the current folder too, as `python -m` does."""
    module_name, colon, attribute = target.partition(":")
    if not module_name or not colon or not attribute:
        raise InvalidInput(f"-A takes MODULE:APP, such as dtsched.workers.builtin:app, not {target!r}")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_user_module(module_name, blamed=f"-A {target}: the module")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"-A {target}: there is no module {error.name} in {here} or among the installed ones"
        ) from error
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        raise InvalidInput(f"-A {target}: the module has no App called {attribute}")
    return app


def parse_queues(texts: Sequence[str]) -> dict[str, int]:
    """Names may hold colons, so it is the last one that counts, and such a name needs its slots: `a:b:4`."""
    queues: dict[str, int] = {}
    for text in texts:
        name, _, slots = text.rpartition(":") if ":" in text else (text, "", str(SLOTS))
        if not name or not slots.isdecimal() or not 1 <= int(slots) <= 10_000 or name in queues:
            raise InvalidInput(f"-q takes NAME or NAME:SLOTS with 1 to 10000 slots, each name once, not {text!r}")
        check_name("queue", name)
        queues[name] = int(slots)
    return queues

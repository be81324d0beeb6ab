"""The command line. A command's module, and with it the driver or the web framework, is imported when it is called."""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, cast

import click
from rich_click import RichGroup

from dtsched.cli.exits import ReaderGone, exit_code


class Entry(NamedTuple):
    """Where a command is, and what `dtsched --help` says of it without importing that."""

    module: str
    panel: str
    summary: str


COMMANDS = {
    "demo": Entry("demo", "Start here", "Run a real workload, kill a busy worker, and prove that nothing was lost."),
    "dev": Entry("dev", "Start here", "Run a kept database of one's own, a worker and the API, until Ctrl-C."),
    "migrate": Entry("migrate", "Run", "Lay the schema in a database, look at it, or take it away."),
    "worker": Entry("worker", "Run", "Run the jobs of an app's tasks."),
    "workers": Entry("workers", "Run", "List workers; start and stop some in the background."),
    "api": Entry("api", "Run", "Serve the REST API."),
    "submit": Entry("submit", "Jobs", "Submit a job and print its id."),
    "submit-many": Entry("many", "Jobs", "Submit the jobs of a file, one JSON object a line."),
    "list": Entry("listing", "Jobs", "List jobs, newest first."),
    "show": Entry("showing", "Jobs", "Show a job, why it is where it is, its steps and its attempts."),
    "watch": Entry("watching", "Jobs", "Follow jobs until they have ended."),
    "result": Entry("result", "Jobs", "Print the result of a job, as JSON."),
    "logs": Entry("logs", "Jobs", "Print what the handlers of a job have logged."),
    "why": Entry("showing", "Jobs", "Say why a job is where it is: what it waits for, or how it ended."),
    "cancel": Entry("actions", "Jobs", "Cancel jobs, and those that depend on them."),
    "retry": Entry("actions", "Jobs", "Run failed and cancelled jobs again, with all their attempts before them."),
    "run-now": Entry("actions", "Jobs", "Make scheduled jobs ready at once."),
    "reschedule": Entry("actions", "Jobs", "Have waiting jobs run at another time."),
    "delete": Entry("actions", "Jobs", "Delete jobs with their results and attempts."),
    "edit": Entry("editing", "Jobs", "Change jobs that wait, have failed or were cancelled."),
    "prune": Entry("pruning", "Jobs", "Delete ended jobs that are past their retention, with results and attempts."),
    "emit": Entry("emitting", "Jobs", "Say that an event has happened, for the jobs that wait for it."),
    "workflow": Entry("workflows", "Look", "Make workflows, look at them and how far they are; cancel and retry them."),
    "operation": Entry("operations", "Look", "Look at what is done to many jobs at once, and cancel it."),
    "task": Entry("tasks", "Look", "Look at the tasks that workers have declared."),
    "schedule": Entry("schedules", "Look", "Make schedules and look at them, pause, resume, run and remove them."),
    "queue": Entry("queues", "Look", "Look at queues, pause and resume them, and change what holds for them."),
    "limit": Entry("limits", "Look", "Look at limit keys, and set their limits."),
    "stats": Entry(
        "stats",
        "Look",
        "Print how many jobs there are in each state, how fast they go, and what the workers have to do.",
    ),
    "psql": Entry("psql", "More", "Open psql on the database."),
    "key": Entry("keys", "More", "Make the API keys of the REST API, list and revoke them."),
    "openapi": Entry("openapi", "More", "Print the OpenAPI document of the REST API, as JSON."),
    "torture": Entry("torture", "More", "Prove it under fire: real processes, faults by a plan, and a verdict."),
    "bench": Entry("bench", "More", "Measure how many jobs a second this machine finishes."),
    "config": Entry("config", "More", "Show the settings in force."),
    "completion": Entry("completion", "More", "Print the script that completes commands and options in a shell."),
    "version": Entry("version", "More", "Print the versions in use."),
}


def load(name: str) -> click.Command:
    loaded = import_module(f"dtsched.cli.{COMMANDS[name].module}")
    return cast(click.Command, getattr(loaded, f"{name.replace('-', '_')}_command"))


class LazyGroup(RichGroup):
    """Lists commands from COMMANDS alone, in its order; the real one is loaded once its name has been typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and command else None, rest

    def invoke(self, ctx: click.Context) -> object:
        """click would make exit code 1 of a reader that has seen enough."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error


def print_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from dtsched.cli.version import own_line  # it imports the driver

        click.echo(own_line())
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Print the version."
)
def root() -> None:
    """A job queue that lives in PostgreSQL.

    Settings come from flags, then DTSCHED_* variables, .env, [tool.dtsched] in pyproject.toml, then defaults.

    Exit codes: 0 ok, 1 error, 2 usage or bad input, 3 not found, 4 conflict, 5 awaited job failed, 6 database
    unreachable, 7 schema missing or old, 124 wait timed out, 130 interrupted.
    """


for _name, _entry in COMMANDS.items():
    root.add_command(click.Command(_name, help=_entry.summary), panel=_entry.panel)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; errors have been told on stderr in one line by then."""
    with exit_code() as ended:
        ended.code = root.main(arguments, prog_name="dtsched", standalone_mode=False) or 0
    return ended.code

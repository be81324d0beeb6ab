"""`dtsched workers start`, `status` and `stop`: in the background of this machine, each name one supervisor with its
processes."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.checks import check_name
from dtsched.cli.detached import Detached, StateFolder, launch
from dtsched.cli.fleet import list_workers, show_worker
from dtsched.cli.options import dsn_option, json_option, passed_on, settings_of
from dtsched.cli.output import print_json, print_table, say
from dtsched.cli.supervisor import DSN_GIVEN, MARGIN_SECONDS, MOST
from dtsched.cli.worker import parse_queues, serving_options
from dtsched.errors import Conflict, DtschedError
from dtsched.settings import parse_duration

F = TypeVar("F", bound=Callable[..., object])

START_SECONDS = 60.0
LAST_LINES = 10


class Member(msgspec.Struct, frozen=True):
    """A worker process."""

    name: str
    pid: int


class Started(msgspec.Struct, frozen=True):
    """`pid` is the supervisor's."""

    name: str
    pid: int
    log: str
    workers: list[Member]


class Standing(msgspec.Struct, frozen=True):
    """As of now. One that is not alive was not stopped by `workers stop`."""

    name: str
    pid: int
    alive: bool
    processes: int
    since: str
    log: str


@click.group("workers", cls=RichGroup)
def workers_command() -> None:
    """List workers; start and stop some in the background.

    `list` and `show` ask the database; the others look after what was started on this machine.
    """


workers_command.add_command(list_workers)
workers_command.add_command(show_worker)


def state_option(function: F) -> F:
    return click.option(
        "--state-dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where is kept what runs. Default: dtsched in XDG_STATE_HOME, or in ~/.local/state.",
    )(function)


@workers_command.command(cls=RichCommand)
@click.argument("count", type=click.IntRange(1, MOST))
@serving_options
@click.option("--name", metavar="PREFIX", help="The workers are PREFIX-1, PREFIX-2, …  Default: the host's name.")
@click.option("--log-dir", type=click.Path(path_type=Path, file_okay=False), help="Default: the state folder.")
@state_option
@dsn_option
@json_option
def start(
    count: int,
    queues: tuple[str, ...],
    lease: str | None,
    poll: str | None,
    grace: str,
    log: str | None,
    log_level: str | None,
    name: str | None,
    log_dir: Path | None,
    folder: Path | None,
    dsn: str | None,
    as_json: bool,
    **_: object,
) -> None:
    """Start COUNT worker processes that outlive this command and its terminal.

    They run in the current folder, under a supervisor that starts those again that die. Returns when all are at work.
    Exit code 4 if workers of that name run already.
    """
    settings_of(dsn, lease=lease, poll=poll, log=log, log_level=log_level)
    parse_queues(queues)
    name = name or socket.gethostname()
    check_name("--name", name)
    grace_seconds = parse_duration(grace, field="--grace")
    if dsn is not None:
        os.environ.update({"DTSCHED_DSN": dsn, DSN_GIVEN: "1"})
    without = ("name", "log_dir", "folder", "dsn", "as_json")
    arguments = [
        "worker",
        f"--processes={count}",
        f"--name={name}",
        *passed_on(click.get_current_context(), without=without),
    ]
    state = StateFolder(folder)
    state.make()
    started = Starting(state, name, (log_dir or state.path).absolute()).run(
        arguments, processes=count, grace_seconds=grace_seconds
    )
    if as_json:
        print_json(started)
    else:
        print_table(["name", "pid"], [[worker.name, str(worker.pid)] for worker in started.workers])
        say(f"log in {started.log}; `dtsched workers stop --name {name}` ends them")


class Starting:
    """Of the workers of one name."""

    def __init__(self, state: StateFolder, name: str, log_dir: Path) -> None:
        self._state = state
        self._name = name
        self._log = log_dir / f"{name}.log"

    def run(self, arguments: list[str], *, processes: int, grace_seconds: float) -> Started:
        """Raises Conflict if they run, DtschedError when they do not come to work; their last words are told then."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        said_before = self._log.stat().st_size if self._log.exists() else 0
        hear, ready = os.pipe()
        with open(hear, "rb") as announced:
            try:
                detached, process = self._launch(arguments, ready, processes=processes, grace_seconds=grace_seconds)
            finally:
                os.close(ready)
            heard = bool(select.select([hear], [], [], START_SECONDS)[0])
            said = announced.readline() if heard else b""
        if not said:
            self._tell(said_before)
            raise self._ended(detached, process) if heard else self._unsettled()
        workers = [Member(*each) for each in msgspec.json.decode(said, type=list[tuple[str, int]])]
        return Started(self._name, detached.pid, str(self._log), workers)

    def _launch(
        self, arguments: list[str], ready: int, *, processes: int, grace_seconds: float
    ) -> tuple[Detached, subprocess.Popen[bytes]]:
        with self._state.locked(self._name):
            self._refuse_second()
            detached, process = launch(
                self._name, arguments, log=self._log, ready=ready, processes=processes, grace_seconds=grace_seconds
            )
            self._state.write(detached)
        return detached, process

    def _refuse_second(self) -> None:
        found = self._state.read(self._name)
        if found is not None and found.alive:
            raise Conflict(f"workers {self._name} run already, as process {found.pid} since {found.since:%F %T}Z")

    def _tell(self, said_before: int) -> None:
        for line in said_since(self._log, said_before)[-LAST_LINES:]:
            say(line)

    def _unsettled(self) -> DtschedError:
        return DtschedError(
            f"workers {self._name}: not all are at work after {START_SECONDS:.0f} s, and go on trying: see {self._log}"
        )

    def _ended(self, detached: Detached, process: subprocess.Popen[bytes]) -> DtschedError:
        """Nobody holds the pipe any more, so its end is near."""
        code = process.wait()
        self._state.forget(detached)
        return DtschedError(f"workers {self._name} ended with code {code}: see {self._log}")


def said_since(log: Path, position: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(position)
        return file.read().decode(errors="replace").splitlines()


@workers_command.command(cls=RichCommand)
@click.option("--name", metavar="PREFIX", help="Only these.")
@state_option
@json_option
def status(name: str | None, folder: Path | None, as_json: bool) -> None:
    """List the workers that were started here in the background."""
    standings = [
        Standing(each.name, each.pid, each.alive, each.processes, f"{each.since:%FT%TZ}", each.log)
        for each in StateFolder(folder).all()
        if name in (None, each.name)
    ]
    if as_json:
        print_json(standings)
        return
    print_table(
        ["name", "pid", "alive", "processes", "since", "log"],
        [
            [each.name, str(each.pid), "yes" if each.alive else "no", str(each.processes), each.since, each.log]
            for each in standings
        ],
    )


@workers_command.command(cls=RichCommand)
@click.option("--name", metavar="PREFIX", help="Only these; otherwise all.")
@click.option("--timeout", metavar="DURATION", help="When to kill them. Default: their grace and half a minute.")
@state_option
def stop(name: str | None, timeout: str | None, folder: Path | None) -> None:
    """Stop the workers that were started here in the background, in order.

    Nothing more is claimed and running jobs get their grace. Code 0 also if nothing ran.
    """
    timeout_seconds = None if timeout is None else parse_duration(timeout, field="--timeout")
    state = StateFolder(folder)
    wanted = [each for each in state.all() if name in (None, each.name)]
    asked_at = time.monotonic()
    running = [each for each in wanted if each.alive]
    for each in running:
        each.send(signal.SIGTERM)
        each.send(signal.SIGCONT)  # one that was stopped hears nothing
    for each in wanted:
        patience = each.grace_seconds + MARGIN_SECONDS + 10 if timeout_seconds is None else timeout_seconds
        say(f"workers {each.name}: {end(each, asked_at + patience) if each in running else 'were not running'}")
        state.forget(each)
    if not wanted:
        say(f"no workers{f' {name}' if name else ''} were started here")


def end(detached: Detached, deadline: float) -> str:
    """What came of it."""
    while detached.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    if not detached.alive:
        return "stopped"
    detached.kill()
    while detached.alive:
        time.sleep(0.05)
    return "did not stop in time and were killed; their jobs come back when their leases have run out"

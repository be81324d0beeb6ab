"""`dtsched worker --processes N`: keeps worker processes running, restarts those that died, ends all in order."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

import msgspec

from dtsched.cli.database import reachable
from dtsched.cli.exits import ExitCode
from dtsched.cli.processes import Child, Family, announce, send
from dtsched.outage import jittered
from dtsched.settings import Settings

_log = logging.getLogger("dtsched.supervisor")

MOST = 64
SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
STEADY_SECONDS = 60.0
MARGIN_SECONDS = 20.0
"""What a worker may need beyond the grace of its jobs: to hand back, to deliver, to take its leave."""

DSN_GIVEN = "DTSCHED_DSN_GIVEN"
"""Set where DTSCHED_DSN stands for a --dsn: it outranks what the app says."""


@dataclass(frozen=True)
class Restart:
    """`failures` in a row, this one included; in so many seconds, before jitter."""

    failures: int
    seconds: float


@dataclass(frozen=True)
class GiveUp:
    code: int


@dataclass(frozen=True)
class Done:
    """It was told to end, by the database or by a signal of its own, or had nothing left to do."""


def verdict(code: int, *, proven: bool, failures: int, lived_seconds: float) -> Restart | GiveUp | Done:
    """Of a worker that ended by itself. `code` is minus the signal that killed it; `proven` says that one has been at
    work with these settings and this app: before that, what ends with an error is not going to do better."""
    if code == ExitCode.OK:
        return Done()
    if code == ExitCode.USAGE or (code > 0 and not proven):
        return GiveUp(code)
    failures = 1 if lived_seconds >= STEADY_SECONDS else failures + 1
    return Restart(failures, min(LONGEST_SECONDS, SHORTEST_SECONDS * 2.0 ** min(failures - 1, 10)))


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


@dataclass
class Place:
    """Of one worker. `due_at` is when its next process is to be started; None: it runs, or is done with."""

    name: str
    child: Child | None = None
    started_at: float = 0.0
    due_at: float | None = 0.0
    failures: int = 0


def supervise(
    settings: Settings, arguments: Sequence[str], *, processes: int, grace_seconds: float, dsn_given: bool
) -> int:
    """Runs `dtsched worker ARGUMENTS` that many times. Returns an exit code when all have ended."""
    base = settings.worker_name or socket.gethostname()
    places = [Place(f"{base}-{number}") for number in range(1, processes + 1)]
    with dsn_in_environment(settings, given=dsn_given), Family() as family:
        return asyncio.run(Supervisor(family, places, arguments, grace_seconds).run())


@contextmanager
def dsn_in_environment(settings: Settings, *, given: bool) -> Generator[None]:
    """For the children. Without a DSN here it is the app that names its database."""
    if settings.dsn is None:
        yield
        return
    with reachable(settings, create=True) as dsn:
        os.environ["DTSCHED_DSN"] = dsn
        if given:
            os.environ[DSN_GIVEN] = "1"
        yield


class Supervisor:
    def __init__(self, family: Family, places: list[Place], arguments: Sequence[str], grace_seconds: float) -> None:
        self._family = family
        self._places = places
        self._arguments = list(arguments)
        self._grace_seconds = grace_seconds
        self._stirred = asyncio.Event()
        self._proven = False
        self._announced: set[str] = set()
        self._kill_at: float | None = None
        self._code = int(ExitCode.OK)
        self._hear, self._ready = os.pipe()

    async def run(self) -> int:
        """The exit code: of a worker that cannot be started, 1 if one had to be killed or ended badly, else 0."""
        self._listen()
        while True:
            self._stirred.clear()
            self._bury_dead()
            if self._over():
                return self._code
            if self._kill_at is None:
                self._start_due()
            elif monotonic() >= self._kill_at:
                self._kill()
            await self._until_stirred()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        os.set_blocking(self._hear, False)
        loop.add_reader(self._hear, self._stirred.set)
        loop.add_signal_handler(signal.SIGCHLD, self._stirred.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)

        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(signal.SIGHUP, self._told_to_stop)

    def _over(self) -> bool:
        return not any(place.child or (self._kill_at is None and place.due_at is not None) for place in self._places)

    async def _until_stirred(self) -> None:
        moments = [place.due_at for place in self._startable() if place.due_at is not None]
        at = self._kill_at if self._kill_at is not None else min(moments, default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if at is None else max(0.0, at - monotonic())):
                await self._stirred.wait()

    def _startable(self) -> list[Place]:
        """The first goes ahead alone: what keeps it from working is said once, and not by all."""
        return self._places if self._proven else self._places[:1]

    def _start_due(self) -> None:
        for place in self._startable():
            if place.due_at is not None and place.due_at <= monotonic():
                self._start(place)

    def _start(self, place: Place) -> None:
        place.started_at = monotonic()
        try:
            place.child = self._family.start(
                place.name, [*self._arguments, f"--name={place.name}"], {}, ready=self._ready
            )
            place.due_at = None
        except OSError as error:  # no process or no memory to be had
            self._plan_restart(place, f"worker {place.name} could not be started: {error}", code=-signal.SIGKILL)

    def _bury_dead(self) -> None:
        self._note_announced()
        for place in self._places:
            if place.child is not None and not place.child.alive:
                child, place.child = place.child, None
                self._family.forget(child)
                self._bury(place, child.pid, child.process.returncode)

    def _bury(self, place: Place, pid: int, code: int) -> None:
        what = f"worker {place.name} (process {pid}) {how_it_ended(code)}"
        if self._kill_at is None:
            self._plan_restart(place, what, code=code)
        elif code not in (ExitCode.OK, -signal.SIGTERM):  # by SIGTERM ends who had not begun to listen for it
            _log.warning("%s while it was to stop", what)
            self._code = self._code or ExitCode.ERROR

    def _plan_restart(self, place: Place, what: str, *, code: int) -> None:
        lived_seconds = monotonic() - place.started_at
        match verdict(code, proven=self._proven, failures=place.failures, lived_seconds=lived_seconds):
            case Restart(failures, seconds):
                pause = jittered(seconds)
                place.failures, place.due_at = failures, monotonic() + pause
                _log.warning("%s; it is started again in %.1f s", what, pause)
            case GiveUp(code):
                _log.error("%s; it would do so again, so all end", what)
                self._code = code
                self._stop()
            case Done():
                self._proven = True
                _log.info("%s and is not started again", what)

    def _note_announced(self) -> None:
        with suppress(BlockingIOError):
            pids = {int(pid) for pid in os.read(self._hear, 65536).split()}
            at_work = {place.name for place in self._places if place.child is not None and place.child.pid in pids}
            self._announced |= at_work
            self._proven = self._proven or bool(at_work)
        if len(self._announced) == len(self._places):
            announce(msgspec.json.encode([(each.name, each.child.pid) for each in self._places if each.child]).decode())

    def _told_to_stop(self) -> None:
        if self._kill_at is None:
            _log.info("stopping: %d workers are told to", len(self._family.children))
        self._stop(hurry=self._kill_at is not None)

    def _stop(self, *, hurry: bool = False) -> None:
        """A second signal ends the grace of the workers' jobs, as it does where there is one worker."""
        if self._kill_at is None or hurry:
            self._kill_at = monotonic() + MARGIN_SECONDS + (0.0 if hurry else self._grace_seconds)
            for child in self._family.children:
                send(child, signal.SIGCONT)
                send(child, signal.SIGTERM)
        self._stirred.set()

    def _kill(self) -> None:
        for child in self._family.children:
            _log.error("worker %s (process %d) does not stop and is killed", child.name, child.pid)
            send(child, signal.SIGKILL)
        self._kill_at = monotonic() + MARGIN_SECONDS

"""Where a run takes place, on one machine: a server of its own, the members around it, and who keeps them running.

A member that ends is started again half a second later, as a supervisor would, until its role is told to end. Each end
is noted, with whether somebody wanted it. Leaving open_stage() ends everything, and so does the end of this process,
whatever kind of end that is.
"""

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, LiteralString, NoReturn
from uuid import uuid4

import psycopg

from dtsched import migrations
from dtsched.embedded import Cluster, temporary
from dtsched.errors import DtschedError
from dtsched.torture import members
from dtsched.torture.clocks import Pair
from dtsched.torture.faults.base import Member, MemberRole, Wire
from dtsched.torture.history import Recorder, recording
from dtsched.torture.members import Child
from dtsched.torture.pulse import Pulses

RESTART_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
MARGIN_SECONDS = 15.0
"""What a worker may need beyond the grace of its jobs: to hand back, to deliver, to take its leave."""

_LOOK_SECONDS = 0.02
_PORTS = range(20000, 32000)  # below those that Linux hands out by itself

_LEASES: LiteralString = """
    select distinct lease.job_id
    from dtsched.leases lease
    join dtsched.workers worker on worker.id = lease.worker_id
    where %(name)s::text is null
        or worker.name = %(name)s and coalesce((worker.info ->> 'pid')::int = %(pid)s, true)
    order by lease.job_id"""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays, and what they are told. `queues` are those of the workers, with their slots; none: all that the app's
    tasks name. Every second worker serves `second_app`, where there is one."""

    workers: int = 2
    apis: int = 0
    submitters: int = 0
    http_workers: int = 0
    app: str = "dtsched.torture.app:app"
    second_app: str | None = None
    queues: Sequence[str] = ()
    lease_seconds: float = 5.0
    poll_seconds: float = 1.0
    grace_seconds: float = 5.0
    seed: int = 0

    def count(self, role: MemberRole) -> int:
        match role:
            case "worker":
                return self.workers
            case "api":
                return self.apis
            case "submitter":
                return self.submitters
            case "http_worker":
                return self.http_workers


ORDER: Sequence[MemberRole] = ("submitter", "http_worker", "worker", "api")
"""In which they end: first those who want something of the others."""


@dataclass
class _Place:
    """Of one member. `due_at` is when its next process is to be started; None: it runs, or its place is given up."""

    name: str
    role: MemberRole
    arguments: Sequence[str]
    environment: Mapping[str, str]
    kept: bool
    due_at: float | None = 0.0
    child: Child | None = None


class NoWire:
    """Members talk to the database itself."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._dsn = dsn

    @property
    def dsn(self) -> str:
        return self._dsn()

    async def to(self, dsn: str) -> NoReturn:
        _no_wire()

    async def silence(self, role: str = "", **how: object) -> NoReturn:
        _no_wire()

    async def refuse(self, **how: object) -> NoReturn:
        _no_wire()

    async def cut(self, role: str = "", **how: object) -> NoReturn:
        _no_wire()

    async def slow(self, seconds: float, **how: object) -> NoReturn:
        _no_wire()

    async def cut_on_commit(self, share: float, role: str = "", **how: object) -> NoReturn:
        _no_wire()

    async def flap(self, on: float, off: float, **how: object) -> NoReturn:
        _no_wire()

    async def heal(self, *, by: str | None = None) -> dict[str, int]:
        return {}

    async def figures(self) -> dict[str, Any]:
        return {}


def _no_wire() -> NoReturn:
    raise DtschedError("this stage has no proxy between its members and the database")


class LocalStage:
    """Members are started and looked after by one event loop, in the main thread: see members.start()."""

    def __init__(self, cluster: Cluster, folder: Path, cast: Cast, record: Recorder, wire: Wire) -> None:
        self.cluster = cluster
        self.folder = folder
        self.cast = cast
        self.record = record
        self.wire = wire
        self.lease_seconds = cast.lease_seconds
        self.run_id = str(uuid4())
        self.api_urls: list[str] = []
        self._pulses = Pulses(lambda: cluster.dsn, record, count_workers=self.count_workers)
        self._places: list[_Place] = []
        self._keeper: asyncio.Task[None] | None = None
        self._hear, self._ready = os.pipe()
        os.set_blocking(self._hear, False)

    @property
    def clocks(self) -> Sequence[Pair]:
        """What the pulses have read of them."""
        return self._pulses.clocks

    def members(self, role: MemberRole | None = None) -> list[Member]:
        return [*self._children(role)]

    def expect_exit(self, member: Member, *, expected: bool = True) -> None:
        for child in self._children():
            if child.pid == member.pid:
                child.expected = expected

    def connect(self, *, application: str = "torture") -> psycopg.Connection:
        """What a fault has the database's sessions begin with is for those of the members. Whoever waits for a lock
        gives up in the end: it may be of another fault, which cannot go on meanwhile."""
        return psycopg.connect(
            self.cluster.dsn,
            autocommit=True,
            connect_timeout=5,
            application_name=application,
            options="-c timezone=UTC -c default_transaction_isolation=read\\ committed -c lock_timeout=20s",
        )

    def in_flight(self, member: Member | None = None) -> list[int]:
        name, pid = (None, None) if member is None else (member.name, member.pid)
        try:
            with self.connect(application="torture look") as connection:
                connection.execute("set statement_timeout = '2s'")
                return [job for (job,) in connection.execute(_LEASES, {"name": name, "pid": pid}).fetchall()]
        except (psycopg.Error, OSError, ValueError):  # ValueError: the access to a server in the making
            return []

    async def add(
        self,
        role: MemberRole,
        name: str,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Member:
        place = _Place(
            name,
            role,
            [*self._arguments(role, name, len(self.members(role))), *arguments],
            {**self._environment(name, role), **(environment or {})},
            kept=False,
        )
        self._places.append(place)
        child = self._start(place)
        child.expected = True
        return child

    async def begin(self) -> None:
        """Returns when all of the cast are at work: who submits comes last, when its tasks are known. Without its jobs
        the time before the first fault would be no measure of anything."""
        self._pulses.start()
        self._keeper = asyncio.create_task(self._keep(), name="torture-stage")
        self.api_urls = [f"http://127.0.0.1:{port}" for port in free_ports(self.cast.apis)]
        await self._enter("worker")
        await self._enter("api")
        await self.workers_at_work()
        await self.until("all APIs listen", self._apis_listen)
        await self._enter("http_worker")
        await self._enter("submitter")
        await self.until("all submitters have submitted something", self._submitters_are_at_work)

    def count_workers(self) -> int:
        """Those that live and have registered. From any thread."""
        return sum(child.at_work for child in self._children("worker"))

    async def workers_at_work(self) -> None:
        """Until every worker of the cast lives and has registered."""
        await self.until("all workers have registered", self._workers_are_at_work)

    async def stop(self, *roles: MemberRole) -> None:
        """Asks all of these roles (without any: all, in their order) to end, and kills what does not. Called again:
        nothing."""
        for role in roles or ORDER:
            places = [place for place in self._places if place.role == role]
            children = [place.child for place in places if place.child is not None]
            self._places = [place for place in self._places if place.role != role or place.child is not None]
            for place in places:
                place.kept, place.due_at = False, None
            for child in children:
                child.expected = True
                child.send(signal.SIGCONT)
                child.send(signal.SIGTERM)
            await self._gone(children, MARGIN_SECONDS + (self.cast.grace_seconds if role == "worker" else 0.0))
            for child in children:
                if child.alive:
                    self.record("exit", "info", name=child.name, role=role, error="it does not end, and is killed")
                    child.kill_group()
            await self._gone(children, None)
        self._bury_dead()

    async def end(self) -> None:
        """stop() of all, and then of what they have left behind."""
        try:
            await self.stop()
        finally:
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.gather(self._keeper, return_exceptions=True)
            self.kill_all()
            self._bury_dead()
            self._pulses.stop()
            os.close(self._hear)
            os.close(self._ready)

    def kill_all(self) -> None:
        for child in self._children():
            child.kill_group()
            child.process.wait()
        for pid in members.left_behind(self.run_id):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left_behind(self) -> list[int]:
        """Processes that are no members, and were started by one that may have ended since."""
        return members.left_behind(self.run_id, but=[child.pid for child in self._children()])

    async def until(self, what: str, reached: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Raises DtschedError when it takes longer."""
        deadline = monotonic() + seconds
        while not reached():
            if monotonic() > deadline:
                raise DtschedError(f"waited {seconds:g} s in vain until {what}; {self._last_words()}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _children(self, role: MemberRole | None = None) -> list[Child]:
        return [
            place.child
            for place in self._places
            if place.child is not None and place.child.alive and role in (None, place.role)
        ]

    async def _enter(self, role: MemberRole) -> None:
        for number in range(self.cast.count(role)):
            name = f"{role.replace('_', '-')}-{number + 1}"
            arguments = self._arguments(role, name, number)
            self._places.append(_Place(name, role, arguments, self._environment(name, role), kept=True))
        self._start_due()

    async def _keep(self) -> None:
        while True:
            self._bury_dead()
            self._start_due()
            await asyncio.sleep(_LOOK_SECONDS)

    def _start_due(self) -> None:
        for place in self._places:
            if place.child is None and place.due_at is not None and place.due_at <= monotonic():
                try:
                    self._start(place)
                except OSError as error:  # no process, no memory, no room on the disk
                    place.due_at = monotonic() + RESTART_SECONDS
                    self.record("exit", "fail", name=place.name, role=place.role, error=str(error))

    def _start(self, place: _Place) -> Child:
        environment = {**place.environment, **self._way_to_the_database(place.role)}
        place.child = members.start(
            place.name, place.role, place.arguments, environment=environment, folder=self.folder, ready=self._ready
        )
        place.due_at = None
        return place.child

    def _note_ready(self) -> None:
        with suppress(BlockingIOError):
            pids = {int(pid) for pid in os.read(self._hear, 65536).split()}
            for child in (place.child for place in self._places if place.child is not None):
                child.at_work = child.at_work or child.pid in pids

    def _bury_dead(self) -> None:
        """An end with code 6 of who has never been `at_work` is that of one who found no database when it started."""
        self._note_ready()
        for place in self._places:
            if place.child is not None and (code := place.child.code) is not None:
                child, place.child = place.child, None
                place.due_at = monotonic() + RESTART_SECONDS if place.kept else None
                self.record(
                    "exit",
                    "ok",
                    name=child.name,
                    role=child.role,
                    pid=child.pid,
                    code=code,
                    expected=child.expected,
                    at_work=child.at_work,
                    lived_seconds=round(monotonic() - child.started_at, 3),
                    last_words="" if child.expected else child.last_lines(),
                )
        self._places = [place for place in self._places if place.kept or place.child is not None]

    async def _gone(self, children: Iterable[Child], seconds: float | None) -> None:
        deadline = None if seconds is None else monotonic() + seconds
        while any(child.alive for child in children) and (deadline is None or monotonic() < deadline):  # noqa: ASYNC110  (processes)
            await asyncio.sleep(_LOOK_SECONDS)

    def _arguments(self, role: MemberRole, name: str, number: int) -> list[str]:
        match role:
            case "worker":
                queues = [part for queue in self.cast.queues for part in ("-q", queue)]
                lease, poll = f"{self.cast.lease_seconds:g}s", f"{self.cast.poll_seconds:g}s"
                settings = ["--lease", lease, "--poll", poll, "--grace", f"{self.cast.grace_seconds:g}s"]
                app = self.cast.second_app or self.cast.app if number % 2 else self.cast.app
                return ["-m", "dtsched", "worker", "-A", app, *queues, *settings, "--name", name]
            case "api":
                port = self.api_urls[number].rpartition(":")[2]
                return ["-m", "dtsched", "api", "--host", "127.0.0.1", "--port", port]
            case "submitter" | "http_worker":
                return ["-m", f"dtsched.torture.{role}"]

    def _environment(self, name: str, role: MemberRole) -> dict[str, str]:
        urls = {"DTSCHED_URL": ",".join(self.api_urls)} if role in ("submitter", "http_worker") else {}
        lease = {"DTSCHED_LEASE": f"{self.cast.lease_seconds:g}s"} if role == "api" else {}  # of workers over HTTP
        return {
            "DTSCHED_TORTURE_DIR": str(self.folder),
            "DTSCHED_TORTURE_SEED": str(self.cast.seed),
            "DTSCHED_TORTURE_NAME": name,
            members.RUN: self.run_id,
            **urls,
            **lease,
        }

    def _way_to_the_database(self, role: MemberRole) -> dict[str, str]:
        """Asked at each start: it may have changed with a restart of the server."""
        return {} if role == "http_worker" else {"DTSCHED_DSN": self.wire.dsn}

    def _workers_are_at_work(self) -> bool:
        workers = [place.child for place in self._places if place.role == "worker" and place.kept]
        return all(worker is not None and worker.alive and worker.at_work for worker in workers)

    def _submitters_are_at_work(self) -> bool:
        histories = (self.folder / "history").glob("submitter-*.ndjson")
        return sum(history.stat().st_size > 0 for history in histories) >= self.cast.submitters

    def _apis_listen(self) -> bool:
        return all(_listens(int(url.rpartition(":")[2])) for url in self.api_urls)

    def _last_words(self) -> str:
        said = [f"{child.name}: {child.last_lines(2)}" for child in self._children()]
        return "the last words of its members: " + "; ".join(said)


@asynccontextmanager
async def open_stage(
    folder: Path,
    cast: Cast,
    *,
    settings: Mapping[str, str] | None = None,
    bin_dir: Path | None = None,
    base: Path | None = None,
    open_wire: Callable[[str], AbstractAsyncContextManager[Wire]] | None = None,
    prepare: Callable[[psycopg.Connection], None] | None = None,
) -> AsyncGenerator[LocalStage]:
    """A server of the programs in `bin_dir` under `base`, migrated and traced, with the cast at work on it. `open_wire`
    is given the DSN of the server; `prepare` lays what else is to be there before the first member starts."""
    for name in ("history", "logs", "state", "sabotage"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(temporary(settings=settings, bin_dir=bin_dir, base=base))
        record = stack.enter_context(recording(folder / "history", "runner"))
        migrations.up(cluster.dsn)
        wire = (
            NoWire(lambda: cluster.dsn)
            if open_wire is None
            else await stack.enter_async_context(open_wire(cluster.dsn))
        )
        stage = LocalStage(cluster, folder, cast, record, wire)
        with stage.connect() as connection:
            connection.execute("select dtsched.trace(true)")
            if prepare is not None:
                prepare(connection)
        stack.push_async_callback(stage.end)
        await stage.begin()
        yield stage


def free_ports(count: int) -> list[int]:
    """Free now, and likely to stay so while nobody listens there."""
    ports: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(ports) == count:
            break
        if not _listens(port):
            ports.append(port)
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Group A, from outside: worker processes are killed, frozen, starved and told to end, whatever they are at."""

import asyncio
import os
import re
import resource
import signal
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from time import monotonic
from typing import ClassVar, LiteralString
from uuid import UUID

import psutil
import psycopg

from dtsched.torture.faults.base import Fault, Group, Member, Stage
from dtsched.torture.faults.handlers import (
    BlockedLoop,
    DeafHandlers,
    ForkedHandlers,
    HeldInterpreter,
    KilledAtTheEnd,
    OutlivingChildren,
    PoisonPills,
    UnknownTasks,
)
from dtsched.torture.faults.jobs import orders, submit_aside
from dtsched.torture.faults.striking import busy_workers, freeze, kill, send, some, thaw, until_gone

_STARTED = re.compile(rb'"op":"start","phase":"ok"[^\n]*?"lease":([0-9]+)')
_TAIL_BYTES = 8 << 20
_LEASES: LiteralString = """
    select lease.id, lease.job_id
    from dtsched.leases lease
    join dtsched.workers worker on worker.id = lease.worker_id
    where worker.name = %s and (worker.info ->> 'pid')::int = %s"""
_WAITER: LiteralString = """
    select pid from pg_stat_activity
    where wait_event_type = 'Lock' and query like any (%s) and pid <> pg_backend_pid() limit 1"""
_ACTIVE: LiteralString = """
    select from pg_stat_activity
    where state = 'active' and application_name in ('dtsched claimer', 'dtsched deliverer')
      and datname = current_database() limit 1"""
_IDENTITIES: LiteralString = "select id from dtsched.workers where name = %s and (info ->> 'pid')::int = %s"
_TERMINATE: LiteralString = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name like %s"""

CLAIM_SECONDS = 5.0
HOLD_SECONDS = 0.4
"""Less than the lock_timeout of who waits."""


class KilledWorkers(Fault):
    """F01. Their jobs run again elsewhere, once their leases have run out. Alone, so that it can be told how soon:
    others kill beside others."""

    number = "F01"
    title = "workers killed with jobs in flight"
    takes = 1.0
    group: ClassVar[Group] = "processes"
    heavy = True

    async def inject(self, stage: Stage) -> Sequence[int]:
        return kill(stage, await busy_workers(stage, self.random, most=some(stage, self.random)))


class KilledBetweenClaimAndStart(Fault):
    """F03. What a claim writes to the trace is held up until all workers are frozen: it commits, and nobody reads its
    answer. Exposed are leases whose handlers have written nothing; the worker that has most of them is killed."""

    number = "F03"
    title = "worker killed between the commit of its claim and the start of the handlers"
    strikes = 5
    group: ClassVar[Group] = "processes"

    jobs: ClassVar[int] = 400
    seconds: ClassVar[float] = 20.0

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._frozen: list[Member] = []

    async def inject(self, stage: Stage) -> Sequence[int]:
        await submit_aside(stage, orders(self.random, self.jobs, "take_time", {"seconds": 0.02}))
        deadline = monotonic() + self.seconds
        while monotonic() < deadline:
            workers = list(stage.members("worker"))
            try:
                caught = await self._caught(stage, workers)
                if caught:
                    victim, unstarted = max(caught, key=_many)
                    stage.expect_exit(victim)
                    send(victim, signal.SIGKILL)
                    return unstarted
            finally:
                await self.heal(stage)
            await asyncio.sleep(self.random.uniform(0.01, 0.1))
        return []

    async def heal(self, stage: Stage) -> None:
        thaw(self._frozen)
        self._frozen = []

    async def _caught(self, stage: Stage, workers: Sequence[Member]) -> list[tuple[Member, list[int]]]:
        """Workers, all of which are frozen now, with what they hold and have not started."""
        with stage.connect() as looking:
            async with trace_held_up(stage):
                if await _waiter(looking, ("dtsched.claim(", "dtsched.work("), seconds=HOLD_SECONDS) is None:
                    return []
                self._frozen = [*workers]
                freeze(stage, workers)
            await _until_answered(looking)
        started = _started(stage)
        caught = [(worker, _held_but(started, stage, worker)) for worker in workers]
        return [(worker, jobs) for worker, jobs in caught if jobs]


def _many(caught: tuple[Member, list[int]]) -> int:
    return len(caught[1])


def _started(stage: Stage) -> set[int]:
    """The leases whose handlers have started. Whoever starts writes that down before anything else; here the end of
    each file is read, in which there is room for minutes."""
    found: set[int] = set()
    for path in (stage.folder / "history").glob("worker-*.ndjson"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            found.update(map(int, _STARTED.findall(file.read())))
    return found


def _held_but(started: set[int], stage: Stage, worker: Member) -> list[int]:
    with suppress(psycopg.Error), stage.connect(application="torture look") as connection:
        leases = connection.execute(_LEASES, (worker.name, worker.pid)).fetchall()
        return [job for lease, job in leases if lease not in started]
    return []


@asynccontextmanager
async def trace_held_up(stage: Stage) -> AsyncGenerator[None]:
    """Nothing changes the state of a job meanwhile: who tries waits, with all that it has done, and gives up after half
    a second."""
    with stage.connect(application="torture hold") as holding, holding.transaction():
        holding.execute("set local lock_timeout = '2s'")
        holding.execute("lock table dtsched.job_events in share mode")
        yield


async def _waiter(looking: psycopg.Connection, calls: Sequence[str], *, seconds: float) -> int | None:
    """The backend of the first who calls one of these and waits for a lock."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        row = looking.execute(_WAITER, ([f"%{call}%" for call in calls],)).fetchone()
        if row is not None:
            return row[0]
        await asyncio.sleep(0.005)
    return None


async def _until_answered(looking: psycopg.Connection) -> None:
    """Until the server is done with all that frozen workers have asked of it."""
    deadline = monotonic() + 1
    while looking.execute(_ACTIVE).fetchone() is not None and monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


class AllWorkersKilled(Fault):
    """F04. Three times, and more often than leases run out: nobody is left to take anything back meanwhile."""

    number = "F04"
    title = "all workers killed at once, again and again"
    takes = 14.0
    group: ClassVar[Group] = "processes"
    heavy = True

    times: ClassVar[int] = 3

    async def inject(self, stage: Stage) -> Sequence[int]:
        held: set[int] = set()
        for _ in range(self.times):
            await busy_workers(stage, self.random, seconds=stage.lease_seconds)
            held.update(kill(stage, stage.members("worker")))
            await asyncio.sleep(0.6 * stage.lease_seconds)
        return sorted(held)


class FrozenWorkers(Fault):
    """F05. They come back as zombies: what they finish then is refused. Some of their jobs take so long that whoever
    got them next is still at them."""

    number = "F05"
    title = "workers stopped for three leases, then resumed"
    group: ClassVar[Group] = "processes"
    lasts: ClassVar[tuple[float, float]] = (15.0, 18.0)
    overlaps = True

    jobs: ClassVar[int] = 4
    leases: ClassVar[float] = 3.0
    """How long they take. Who is frozen for that is over them when it goes on; who got them a lease later is not."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._frozen: list[Member] = []
        self._since = monotonic()

    async def inject(self, stage: Stage) -> Sequence[int]:
        payload = {"seconds": self.leases * stage.lease_seconds}
        long_ones = {*await submit_aside(stage, orders(self.random, self.jobs, "take_time", payload))}
        deadline = monotonic() + CLAIM_SECONDS
        while not long_ones & {*stage.in_flight()} and monotonic() < deadline:  # noqa: ASYNC110  (rows)
            await asyncio.sleep(0.1)
        busy = await busy_workers(stage, self.random, most=len(stage.members("worker")))
        busy.sort(key=lambda worker: len(long_ones & {*stage.in_flight(worker)}), reverse=True)
        self._frozen = busy[: some(stage, self.random)]
        self._since = monotonic()
        return freeze(stage, self._frozen)

    async def heal(self, stage: Stage) -> None:
        if self._frozen:
            await asyncio.sleep(max(0.0, self._since + 3 * stage.lease_seconds - monotonic()))
        thaw(self._frozen)
        self._frozen = []


class BrieflyFrozenWorkers(Fault):
    """F06. A thread of our own wakes them: our event loop may be late."""

    number = "F06"
    title = "workers stopped for 0.6 of a lease"
    strikes = 4
    group: ClassVar[Group] = "processes"

    async def inject(self, stage: Stage) -> Sequence[int]:
        workers = await busy_workers(stage, self.random, most=some(stage, self.random))
        since = monotonic()
        alarm = threading.Timer(0.6 * stage.lease_seconds, thaw, [workers])
        alarm.daemon = True
        alarm.start()
        held = freeze(stage, workers)
        await asyncio.to_thread(alarm.join)
        return held if monotonic() - since < 0.9 * stage.lease_seconds else []


class StarvedWorker(Fault):
    """F09. Of file descriptors, of memory or of threads; its connections end, so that it needs new ones. It may end."""

    number = "F09"
    title = "worker out of file descriptors, of memory or of threads"
    takes = 2.0
    group: ClassVar[Group] = "processes"
    lasts: ClassVar[tuple[float, float]] = (3.0, 6.0)
    overlaps = True

    headroom_bytes: ClassVar[int] = 4 << 20
    limits: ClassVar[Sequence[int]] = ()
    """Of the resource module; none: any."""

    starved: ClassVar[set[int]] = set()
    """Processes: two windows on one worker would each put the other's limit back."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._worker: Member | None = None
        self._before: tuple[int, tuple[int, int]] | None = None
        self._spent_seconds, self._since = 0.0, 0.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        workers = await busy_workers(stage, self.random, most=len(stage.members("worker")))
        for worker in [worker for worker in workers if worker.pid not in self.starved][:1]:
            self._worker = worker
            self.starved.add(worker.pid)
            stage.expect_exit(worker)
            self._starve(psutil.Process(worker.pid))
            held = stage.in_flight(worker)
            with stage.connect() as connection:
                connection.execute(_TERMINATE, ("dtsched %",))
            return held
        return []

    def _starve(self, process: psutil.Process) -> None:
        """Root may have as many threads as it likes."""
        most = {
            resource.RLIMIT_NOFILE: 3,
            resource.RLIMIT_AS: process.memory_info().vms + self.headroom_bytes,
            **({} if os.geteuid() == 0 else {resource.RLIMIT_NPROC: 1}),
        }
        limit = self.random.choice(self.limits or sorted(most))
        self._before = limit, process.rlimit(limit)
        self._spent_seconds, self._since = _spent(process), monotonic()
        process.rlimit(limit, (most[limit], self._before[1][1]))

    async def heal(self, stage: Stage) -> None:
        """Notes how much of a core it has used meanwhile: who cannot do anything is not to be busy with that."""
        if self._worker is None or self._before is None:
            return
        self.starved.discard(self._worker.pid)
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._worker.pid)
            process.rlimit(*self._before)
            spent = _spent(process) - self._spent_seconds
            share = round(spent / max(monotonic() - self._since, 0.001), 3)
            stage.record("fault", "info", fault=self.number, cpu_share=share)
            stage.expect_exit(self._worker, expected=not self._worker.alive)
        self._worker = None


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class ToldToEnd(Fault):
    """F10. Once, twice, or while the worker has lost its listener. What does not end in its grace is handed back."""

    number = "F10"
    title = "SIGTERM with jobs in flight, and a second one"
    strikes = 4
    group: ClassVar[Group] = "processes"

    async def inject(self, stage: Stage) -> Sequence[int]:
        for worker in await busy_workers(stage, self.random):
            stage.expect_exit(worker)
            if self.random.random() < 0.3:
                with stage.connect() as connection:
                    connection.execute(_TERMINATE, ("dtsched listener",))
            held = freeze(stage, [worker])
            identities = _identities(stage, worker)
            began = monotonic()
            send(worker, signal.SIGTERM)
            thaw([worker])
            if self.random.random() < 0.5:
                await asyncio.sleep(self.random.uniform(0, 1))
                send(worker, signal.SIGTERM)
            ended = await until_gone(worker, 60)
            took = round(monotonic() - began, 3)
            left = _held_by(stage, identities)
            wrong = [f"{worker.name} had ended, and held job {job}" for job in left] if ended else []
            wrong += [] if ended else [f"{worker.name} did not end in {took:g} s"]
            stage.record("fault", "info", fault=self.number, exit_seconds=took, left_leased=len(left), wrong=wrong)
            return held
        return []


def _identities(stage: Stage, worker: Member) -> list[UUID]:
    """Those of a process: one that was declared lost has registered anew."""
    with stage.connect(application="torture look") as connection:
        return [identity for (identity,) in connection.execute(_IDENTITIES, (worker.name, worker.pid)).fetchall()]


def _held_by(stage: Stage, identities: Sequence[UUID]) -> list[int]:
    """Also when their workers have taken their leave."""
    with stage.connect(application="torture look") as connection:
        rows = connection.execute(
            "select job_id from dtsched.leases where worker_id = any (%s) order by job_id", (list(identities),)
        )
        return [job for (job,) in rows.fetchall()]


class Namesakes(Fault):
    """F14. Another worker of the same name comes and goes, twice: once by itself, once killed. A number of a process
    that is given out again cannot be forced."""

    number = "F14"
    title = "two workers of the same name on the same host"
    takes = 8.0
    group: ClassVar[Group] = "processes"

    seconds: ClassVar[float] = 30.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        for worker in await busy_workers(stage, self.random):
            held = set(stage.in_flight(worker))
            for number in (signal.SIGTERM, signal.SIGKILL):
                namesake = await stage.add("worker", worker.name)
                try:
                    await self._at_work(stage, namesake)
                    held.update(stage.in_flight(worker))
                finally:
                    send(namesake, number)
                    if not await until_gone(namesake, 60):
                        send(namesake, signal.SIGKILL)
            return sorted(held)
        return []

    async def _at_work(self, stage: Stage, namesake: Member) -> None:
        deadline = monotonic() + self.seconds
        while not _identities(stage, namesake) and namesake.alive and monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class KilledRescue(Fault):
    """F15. A worker is killed, and then the rescue of what it held, in the midst of it: what rescue writes to the trace
    is held up, its backend is seen to wait there, and terminated."""

    number = "F15"
    title = "rescue killed in the midst of a batch"
    takes = 8.0
    strikes = 4
    group: ClassVar[Group] = "processes"

    jobs: ClassVar[int] = 30

    async def inject(self, stage: Stage) -> Sequence[int]:
        await submit_aside(stage, orders(self.random, self.jobs, "take_time", {"seconds": 0.5}))
        for worker in await busy_workers(stage, self.random):
            orphans = kill(stage, [worker])
            with stage.connect() as looking:
                margin = 0.3 * stage.lease_seconds
                await asyncio.sleep(max(0.0, _seconds_left(looking, worker) - margin))
                async with trace_held_up(stage):
                    if not _leased(looking, orphans):
                        return []
                    rescuer = await _waiter(looking, ("dtsched.rescue(",), seconds=margin + 2 * stage.lease_seconds)
                    if rescuer is None:
                        return []
                    looking.execute("select pg_terminate_backend(%s)", (rescuer,))
            return orphans
        return []


def _seconds_left(connection: psycopg.Connection, worker: Member) -> float:
    row = connection.execute(
        """select max(extract(epoch from expires_at - dtsched.now()))::double precision from dtsched.workers
        where name = %s and (info ->> 'pid')::int = %s""",
        (worker.name, worker.pid),
    ).fetchone()
    return row[0] if row is not None and row[0] is not None else 0.0


def _leased(connection: psycopg.Connection, jobs: Sequence[int]) -> bool:
    row = connection.execute("select exists (select from dtsched.leases where job_id = any (%s))", (list(jobs),))
    return bool((row.fetchone() or (False,))[0])


FAULTS: Sequence[type[Fault]] = (
    KilledWorkers,
    KilledAtTheEnd,
    KilledBetweenClaimAndStart,
    AllWorkersKilled,
    FrozenWorkers,
    BrieflyFrozenWorkers,
    BlockedLoop,
    HeldInterpreter,
    PoisonPills,
    StarvedWorker,
    ToldToEnd,
    DeafHandlers,
    OutlivingChildren,
    ForkedHandlers,
    Namesakes,
    KilledRescue,
    UnknownTasks,
)
"""Group A. Left out is the mixed versions of F16: there is no released version that is older."""

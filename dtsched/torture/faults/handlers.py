"""Group A, from within: handlers that kill, block, fork or starve the process that they run in. See sabotage.py."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from time import monotonic
from typing import ClassVar, LiteralString

import psycopg

from dtsched.torture.faults import jobs
from dtsched.torture.faults.base import Fault, Group, Member, Stage
from dtsched.torture.faults.jobs import Order, arrivals, go, orders, submit_aside, until_dead, until_ended, worker_with
from dtsched.torture.faults.striking import kill, send, until_gone
from dtsched.torture.sabotage import ALSO, LATE_SECONDS, Poison

_RUNNING: LiteralString = "select id from dtsched.jobs where id = any (%s) and state = 'running' order by id"
_TIMED_OUT: LiteralString = """
    select distinct job_id from dtsched.attempts where job_id = any (%s) and error_type = 'timeout' order by job_id"""
_PARKED: LiteralString = "select job_id from dtsched.parked where job_id = any (%s) and reason = 'task' order by job_id"


def _select(stage: Stage, statement: LiteralString, *parameters: object) -> list[int]:
    with stage.connect(application="torture look") as connection:
        return [job for (job,) in connection.execute(statement, parameters).fetchall()]


class Meeting(Fault):
    """Submits jobs, waits for their handlers, and goes on with those that are in one and the same process."""

    group: ClassVar[Group] = "processes"
    jobs: ClassVar[int] = 10
    seconds: ClassVar[float] = 15.0

    async def meet(self, stage: Stage, wanted: Sequence[Order]) -> tuple[Member, list[int]] | None:
        """The worker in which most of them are, and which of them are there: they wait for go(). The others will do no
        harm. None if nobody came in time."""
        submitted = await submit_aside(stage, wanted)
        found = await arrivals(stage, submitted, seconds=self.seconds, enough=max(1, len(submitted) // 2))
        places = [*found.values()]
        worker = worker_with(stage, max(places, key=places.count)) if places else None
        present = [job for job, pid in found.items() if worker is not None and pid == worker.pid]
        jobs.let_be(stage, set(submitted).difference(present))
        return None if worker is None else (worker, present)


class KilledAtTheEnd(Meeting):
    """F02. Exposed are jobs whose handlers have returned and which their worker holds still when it is dead."""

    number = "F02"
    title = "worker killed between a handler's end and the commit of its completion"
    strikes = 5
    jobs = 30

    async def inject(self, stage: Stage) -> Sequence[int]:
        """What was late, and met completions that had been committed, is tried again sooner."""
        for after in (self.random.choice((0.0, 0.001, 0.002)), 0.0):
            exposed = await self._strike(stage, after)
            if exposed:
                return exposed
        return []

    async def _strike(self, stage: Stage, after_seconds: float) -> list[int]:
        met = await self.meet(stage, orders(self.random, self.jobs, "return_and_die", {"after_seconds": after_seconds}))
        if met is None:
            return []
        worker, present = met
        stage.expect_exit(worker)
        go(stage, present)
        await until_dead(stage, worker.pid)
        return _select(stage, _RUNNING, present)


class BlockedLoop(Meeting):
    """F07, without the interpreter's lock: leases are renewed by a thread, so nothing is lost. Exposed is all that the
    worker holds."""

    number = "F07"
    title = "event loop blocked for three leases, other threads run"
    takes = 17.0
    strikes = 6

    held: ClassVar[bool] = False

    async def inject(self, stage: Stage) -> Sequence[int]:
        seconds = 3 * stage.lease_seconds
        met = await self.meet(stage, orders(self.random, 1, "block_the_loop", {"seconds": seconds, "held": self.held}))
        if met is None:
            return []
        worker, present = met
        moment = go(stage, present)
        await asyncio.sleep(max(0.0, moment + 0.1 - monotonic()))
        exposed = sorted({*present, *stage.in_flight(worker)})
        await asyncio.sleep(seconds)
        return exposed


class HeldInterpreter(BlockedLoop):
    """F07, with the interpreter's lock: nothing in the process can renew, so its jobs are taken from it."""

    number = "F07G"
    title = "interpreter held for three leases by one handler"
    takes = 18.0
    strikes = 4
    overlaps = True
    held = True


class PoisonPills(Fault):
    """F08. Each takes its process with it as often as a job may, and then fails; the two that Python survives fail like
    any other. Whoever runs beside one is exposed too."""

    number = "F08"
    title = "handlers that kill their process"
    takes = 16.0
    strikes = 5
    group: ClassVar[Group] = "processes"

    ways: ClassVar[Sequence[Poison]] = ("kill", "exit", "segfault", "recursion", "memory")
    attempts: ClassVar[int] = 5

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._rest: asyncio.Task[None] | None = None
        self._way = random.choice(self.ways)
        self._deadly = self._way in ("kill", "exit", "segfault")

    async def inject(self, stage: Stage) -> Sequence[int]:
        wanted = orders(
            self.random, 1, "take_poison", {"poison": self._way}, expect=("failed",), max_attempts=self.attempts
        )
        (pill,) = await submit_aside(stage, wanted)
        held = await self._swallow(stage, pill, 1)
        self._rest = asyncio.create_task(self._swallow_the_rest(stage, pill))
        return held

    async def heal(self, stage: Stage) -> None:
        """When it has failed for good."""
        if self._rest is not None:
            await self._rest

    async def _swallow_the_rest(self, stage: Stage, pill: int) -> None:
        for attempt in range(2, self.attempts + 1):
            with suppress(psycopg.OperationalError):
                if not jobs.unfinished(stage, [pill]):
                    return
            await self._swallow(stage, pill, attempt)

    async def _swallow(self, stage: Stage, pill: int, attempt: int) -> list[int]:
        seconds = 4 * stage.lease_seconds + 10
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            for pid in (await arrivals(stage, [pill], attempt=attempt, seconds=0.2)).values():
                worker = worker_with(stage, pid)
                if worker is not None and self._deadly:
                    stage.expect_exit(worker)
                held = stage.in_flight(worker) if worker is not None else [pill]
                go(stage, [pill], attempt=attempt)
                return held
            with suppress(psycopg.OperationalError):
                if not jobs.unfinished(stage, [pill]):
                    break
        return []


class DeafHandlers(Fault):
    """F11. Their time is over and they do not care: one is given up on, whose slot stays taken until it ends by itself;
    the other is in a process, which is killed. Exposed are those whose attempt ended by timeout."""

    number = "F11"
    title = "handlers that ignore their cancellation and their timeout"
    takes = 8.0
    group: ClassVar[Group] = "processes"
    overlaps = True

    each: ClassVar[int] = 5
    seconds: ClassVar[float] = 4.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        wanted = [
            order
            for task in ("ignore_cancellation", "ignore_timeout")
            for order in orders(self.random, self.each, task, {"seconds": self.seconds}, timeout=0.5)
        ]
        submitted = await submit_aside(stage, wanted)
        deadline = monotonic() + 20
        while True:
            exposed = _select(stage, _TIMED_OUT, submitted)
            if len(exposed) == len(submitted) or monotonic() > deadline:
                return exposed
            await asyncio.sleep(0.1)


class OutlivingChildren(Fault):
    """F12. What a handler in a process has started ends with the worker, though that was killed. Notes what did not."""

    number = "F12"
    title = "handlers' children after their worker was killed"
    takes = 10.0
    strikes = 5
    group: ClassVar[Group] = "processes"

    each: ClassVar[int] = 24

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._left: list[int] = []
        self._until = 0.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        submitted = await submit_aside(stage, orders(self.random, self.each, "leave_a_child"))
        found = await arrivals(stage, submitted, seconds=30, enough=max(1, self.each // 2))
        workers = {pid: worker for pid in set(found.values()) if (worker := worker_with(stage, pid)) is not None}
        if not workers:
            return []
        pid, worker = self.random.choice(sorted(workers.items()))
        kill(stage, [worker])
        theirs = [job for job, place in found.items() if place == pid]
        self._left = [job for job in theirs if not self._has_acted(stage, job)]
        self._until = monotonic() + LATE_SECONDS + 0.5
        return self._left

    async def heal(self, stage: Stage) -> None:
        if self._left:
            await asyncio.sleep(max(0.0, self._until - monotonic()))
            late = [job for job in self._left if self._has_acted(stage, job)]
            wrong = [f"a child of job {job} has acted after its worker was killed" for job in late]
            stage.record("fault", "info", fault=self.number, late_effects=len(late), wrong=wrong)
            self._left = []

    def _has_acted(self, stage: Stage, job: int) -> bool:
        return (jobs.sabotage(stage) / f"{job}.late").exists()


class ForkedHandlers(Meeting):
    """F13. The copy holds the worker's sockets for a while and ends; the worker goes on to use them."""

    number = "F13"
    title = "os.fork() in a handler while the worker's connections are in use"
    strikes = 4

    held_seconds: ClassVar[float] = 1.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        wanted = orders(self.random, 2, "fork_and_go_on", {"seconds": self.held_seconds})
        met = await self.meet(stage, wanted)
        if met is None:
            return []
        worker, present = met
        go(stage, present)
        await asyncio.sleep(jobs.GO_SECONDS + self.held_seconds / 2)
        return sorted({*present, *stage.in_flight(worker)})


class UnknownTasks(Fault):
    """F16, as far as one version goes: jobs of a task that nobody knows, inserted by SQL, are put aside; a worker comes
    that knows it (a newer one, or one from before the renaming), and leaves again when they have run; where they do not
    in time, because the queue is long, it stays."""

    number = "F16"
    title = "jobs of tasks that no worker knows, until one does"
    takes = 18.0
    strikes = 2
    group: ClassVar[Group] = "processes"

    count: ClassVar[int] = 25
    patience_seconds: ClassVar[float] = 30.0

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._task = f"renamed.{random.getrandbits(32):08x}"
        self._jobs: list[int] = []

    async def inject(self, stage: Stage) -> Sequence[int]:
        wanted = orders(self.random, self.count, self._task)
        with stage.connect(application="torture fault") as connection:
            self._jobs = await asyncio.to_thread(jobs.insert, stage, connection, wanted)
        deadline = monotonic() + 2 * self.patience_seconds  # of their priority others have brought a backlog
        while True:
            parked = _select(stage, _PARKED, self._jobs)
            if len(parked) == len(self._jobs) or monotonic() > deadline:
                return parked
            await asyncio.sleep(0.05)

    async def heal(self, stage: Stage) -> None:
        if not self._jobs:
            return
        knower = await self._call(stage)
        deadline = monotonic() + self.patience_seconds
        while not (ended := await until_ended(stage, self._jobs, seconds=1)) and monotonic() < deadline:
            if not knower.alive:  # it found no database
                knower = await self._call(stage)
        self._jobs = []
        if ended:
            send(knower, signal.SIGTERM)
            await until_gone(knower, 15)

    async def _call(self, stage: Stage) -> Member:
        return await stage.add("worker", "one-who-knows", environment={ALSO: self._task})

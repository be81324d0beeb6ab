"""Group C, what happens between the processes and the database: by the proxy that stands there."""

import os
import signal
from asyncio import sleep, to_thread
from collections.abc import Sequence
from time import monotonic, monotonic_ns
from typing import ClassVar

from dtsched.torture.faults.base import Fault, Group, Member, Stage
from dtsched.torture.faults.servers import busy
from dtsched.torture.history import recent
from dtsched.torture.ways import Direction
from dtsched.torture.wire import FINISHES, SUBMITS

_LOOK_SECONDS = 0.02


class OnTheWire(Fault):
    """Whose healing is that of the wire."""

    group: ClassVar[Group] = "network"

    @property
    def by(self) -> str:
        return f"{self.number} {id(self):x}"

    async def heal(self, stage: Stage) -> None:
        for what, count in (await stage.wire.heal(by=self.by)).items():
            self.done[what] = self.done.get(what, 0) + count

    async def one_of(self, stage: Stage, *, seconds: float = 3.0) -> tuple[Member, list[int]]:
        """A worker and the jobs that it has in flight; one that has some, as soon as there is any in that time."""
        deadline = monotonic() + seconds
        while True:
            workers = [(worker, stage.in_flight(worker)) for worker in stage.members("worker")]
            if not workers:
                raise LookupError("no worker of the run lives")
            busy_ones = [one for one in workers if one[1]]
            if busy_ones or monotonic() > deadline:
                return self.random.choice(busy_ones or workers)
            await sleep(_LOOK_SECONDS)


class HalfOpen(OnTheWire):
    """The connections of one worker, or one of them: new ones work. Its lease may run out before it has noticed."""

    number: ClassVar[str] = "F41"
    title: ClassVar[str] = "half-open connections"
    takes = 2.0
    strikes = 4
    lasts: ClassVar[tuple[float, float]] = (6.0, 16.0)
    overlaps: ClassVar[bool] = True

    async def inject(self, stage: Stage) -> Sequence[int]:
        member, jobs = await self.one_of(stage)
        role = self.random.choice(["", "", "claimer", "deliverer", "renewer", "listener", "maintenance"])
        direction: Direction = self.random.choice(["both", "asked", "answered"])
        for which in (role, ""):  # not every worker has opened each of them
            if await stage.wire.silence(which, pid=member.pid, direction=direction, by=self.by):
                return jobs
        return []


class ReplyLost(OnTheWire):
    """The server has committed what clients submit and workers finish, and the answer never comes: an exposure is a
    commit of which that is so."""

    number: ClassVar[str] = "F42"
    title: ClassVar[str] = "commit done, reply lost"
    strikes = 5
    lasts: ClassVar[tuple[float, float]] = (3.0, 8.0)
    share: ClassVar[tuple[float, float]] = (0.02, 0.2)

    async def inject(self, stage: Stage) -> Sequence[int]:
        jobs = await busy(stage)
        share = self.random.uniform(*self.share)
        await stage.wire.cut_on_commit(share, calls=SUBMITS | FINISHES, seed=self.random.getrandbits(32), by=self.by)
        return jobs

    async def heal(self, stage: Stage) -> None:
        await super().heal(stage)
        self.done["struck"] = self.done.get("commits_cut", 0)


class Slow(OnTheWire):
    """50 to 500 ms each way, or all in pieces of one byte, or 200 kB/s a connection: a renewal comes in time."""

    number: ClassVar[str] = "F43"
    title: ClassVar[str] = "latency, small segments, throttle"
    takes = 2.0
    lasts: ClassVar[tuple[float, float]] = (4.0, 10.0)
    ways: ClassVar[Sequence[str]] = ("late", "pieces", "throttled")
    latency: ClassVar[tuple[float, float]] = (0.05, 0.5)

    async def inject(self, stage: Stage) -> Sequence[int]:
        jobs = await busy(stage)
        how = self.random.choice(self.ways)
        if how == "late":
            await stage.wire.slow(self.random.uniform(*self.latency), by=self.by)
        elif how == "pieces":
            await stage.wire.slow(0.0, piece_bytes=1, by=self.by)
        else:
            await stage.wire.slow(0.0, bytes_per_second=200_000.0, by=self.by)
        return jobs


class Partition(OnTheWire):
    """One worker hears nothing, or is not heard, or both; new connections neither. The others go on."""

    number: ClassVar[str] = "F44"
    title: ClassVar[str] = "one-way and full partition"
    strikes = 5
    lasts: ClassVar[tuple[float, float]] = (6.0, 14.0)
    overlaps: ClassVar[bool] = True
    directions: ClassVar[Sequence[Direction]] = ("both", "asked", "answered")

    async def inject(self, stage: Stage) -> Sequence[int]:
        member, jobs = await self.one_of(stage)
        direction = self.random.choice(self.directions)
        await stage.wire.silence(pid=member.pid, direction=direction, new_ones_too=True, by=self.by)
        return jobs


class Flapping(OnTheWire):
    """A second on, a second off, for all: connections are cut and refused, or fall silent and wake up."""

    number: ClassVar[str] = "F45"
    title: ClassVar[str] = "flapping line"
    lasts: ClassVar[tuple[float, float]] = (8.0, 14.0)
    overlaps: ClassVar[bool] = True

    async def inject(self, stage: Stage) -> Sequence[int]:
        jobs = await busy(stage)
        await stage.wire.flap(1.0, 1.0, how=self.random.choice(["cut", "silence"]), by=self.by)
        return jobs


class ApiKilled(OnTheWire):
    """One API of several is killed while it waits for the answer to what it was posted, which has been committed. Its
    clients ask again, another one, under the same Idempotency-Key. Exposed are jobs that it was posted and whose
    clients had no answer when it died."""

    number: ClassVar[str] = "F47"
    title: ClassVar[str] = "API killed in the middle of a POST"
    takes = 6.0
    strikes = 5

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        return None if len(stage.members("api")) >= 2 else "two servers of the API are needed: --api 2"

    async def inject(self, stage: Stage) -> Sequence[int]:
        victim = self.random.choice(stage.members("api"))
        since = monotonic_ns()
        await stage.wire.silence(pid=victim.pid, direction="answered", new_ones_too=True, by=self.by)
        await sleep(self.random.uniform(0.3, 0.8))
        stage.expect_exit(victim)
        os.kill(victim.pid, signal.SIGKILL)
        killed = monotonic_ns()
        await self.heal(stage)
        self.done["struck"] = await to_thread(_unanswered, stage, since, killed)
        return []


def _unanswered(stage: Stage, since: int, until: int) -> int:
    """How many jobs were posted in this time whose clients had no answer at its end. The last tenth of a second does
    not count: those may have asked the other server, which was about to answer."""
    waiting: set[str | None] = set()
    for one in recent(stage.folder / "history", "submitter"):
        if one.op != "submit" or one.ns > until:
            continue
        if one.phase != "invoke":
            waiting.discard(one.key)
        elif since <= one.ns <= until - 10**8 and str(one.note.get("door")).startswith("rest"):
            waiting.add(one.key)
    return len(waiting)


FAULTS: Sequence[type[Fault]] = (HalfOpen, ReplyLost, Slow, Partition, Flapping, ApiKilled)

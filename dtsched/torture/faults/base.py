"""What a fault is to the runner, and the stage to a fault."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, Protocol

import psycopg

from dtsched.embedded import Cluster
from dtsched.torture.history import Recorder
from dtsched.torture.ways import Direction

Group = Literal["processes", "postgres", "network", "semantics"]
MemberRole = Literal["worker", "api", "submitter", "http_worker"]
Flapping = Literal["cut", "silence"]


class Member(Protocol):
    """A process of the run. The stage starts another one in its place when it ends, as a supervisor would."""

    name: str
    role: MemberRole

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool: ...

    @property
    def frozen(self) -> bool: ...

    def freeze(self) -> None:
        """Until as many thaw() it as did freeze it: one fault does not wake whom another one holds."""
        ...

    def thaw(self) -> None: ...


class Wire(Protocol):
    """The proxy between all members and the database; the stage's own connections do not go through it. `role` is a
    word of the connections' application_name, "" for all; `pid`, the process whose connections are meant. `by` is who
    does it, for heal()."""

    @property
    def dsn(self) -> str:
        """Leads through it."""
        ...

    async def to(self, dsn: str) -> None:
        """Where connections lead that are opened from now on."""
        ...

    async def silence(
        self,
        role: str = "",
        *,
        new_ones_too: bool = False,
        direction: Direction = "both",
        pid: int | None = None,
        by: str = "",
    ) -> int:
        """Half-open: nothing is forwarded any more, and every socket stays open; what was said meanwhile passes when
        it is healed. How many connections that are."""
        ...

    async def refuse(self, *, by: str = "") -> None:
        """New connections are reset at once."""
        ...

    async def cut(self, role: str = "", *, pid: int | None = None, by: str = "") -> int:
        """Resets what is open; how many connections that were."""
        ...

    async def slow(
        self,
        seconds: float,
        *,
        piece_bytes: int | None = None,
        bytes_per_second: float | None = None,
        role: str = "",
        pid: int | None = None,
        by: str = "",
    ) -> None:
        """Holds back whatever passes for as long, each way; `piece_bytes`: in pieces of that size."""
        ...

    async def cut_on_commit(
        self,
        share: float,
        role: str = "",
        *,
        calls: Collection[str] = ...,
        pid: int | None = None,
        seed: int = 0,
        by: str = "",
    ) -> None:
        """Of so many of the commits that come back, the answer is lost and the connection with it. `calls`: the
        functions and commands that are meant, by default all that write; see pgwire.py for what a commit is."""
        ...

    async def flap(self, on: float, off: float, *, how: Flapping = "cut", by: str = "") -> None:
        """So many seconds nothing passes, then so many everything, and so on."""
        ...

    async def heal(self, *, by: str | None = None) -> dict[str, int]:
        """What `by` has done, or all have, is over. How often it was done: silenced, refused, cut, commits_cut (of so
        many commits), flaps."""
        ...

    async def figures(self) -> dict[str, Any]:
        """Since the beginning: opened, bytes, round_trips, cpu_seconds; `open`: connections by application_name."""
        ...


class Stage(Protocol):
    """What a fault may touch."""

    cluster: Cluster
    wire: Wire
    folder: Path
    lease_seconds: float
    record: Recorder
    """The runner's own history: a fault that submits jobs notes them there, as submitters do in theirs."""

    def members(self, role: MemberRole | None = None) -> Sequence[Member]:
        """Those that live."""
        ...

    def expect_exit(self, member: Member, *, expected: bool = True) -> None:
        """Its end is the fault's doing; or, of one that has got over it, no longer."""
        ...

    async def add(
        self,
        role: MemberRole,
        name: str,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Member:
        """One more, whose end nobody minds and nobody makes up for; `arguments` follow those of its role."""
        ...

    def connect(self, *, application: str = "torture") -> psycopg.Connection:
        """To the database itself, as its superuser, in autocommit; to be closed by whoever asks for it."""
        ...

    def in_flight(self, member: Member | None = None) -> list[int]:
        """The jobs that this worker, or any, holds leases of now; nothing while the database is away."""
        ...


class Fault(ABC):
    """One line of the catalogue. An instance serves one window: inject(), `lasts` seconds, heal()."""

    number: ClassVar[str]
    """F01 …"""
    title: ClassVar[str]
    group: ClassVar[Group]
    lasts: ClassVar[tuple[float, float]] = (0.0, 0.0)
    """Seconds between inject() and heal(), drawn from this range."""
    heavy: ClassVar[bool] = False
    """Alone on the stage: the runner gives it a window of its own, and time to recover."""
    takes: ClassVar[float] = 4.0
    """Seconds that inject() and heal() take together, on two cores that are busy: how much room the plan gives them."""
    strikes: ClassVar[int] = 3
    """Windows of a run in which it is planned: enough for 20 exposures."""
    overlaps: ClassVar[bool] = False
    """Whether a handler may be started again under its hands although an earlier one still runs (invariant S5)."""
    forgets: ClassVar[bool] = False
    """Whether the database goes back in time: what was committed in the interval that the fault notes (`forgets`: from
    and until, in ns of CLOCK_MONOTONIC) may be gone, and ids of jobs be given out again."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.done: dict[str, int] = {}
        """How often it did what, once it is healed: for the record. `struck`: so many exposures, whatever jobs were in
        flight when it began."""
        self.late: list[int] = []
        """Its exposures, where it strikes when it is healed."""

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        """Why it cannot be injected here (not root, a Debian package that is not there, …), or None."""
        return None

    @abstractmethod
    async def inject(self, stage: Stage) -> Sequence[int]:
        """Returns the jobs that were in flight where it struck: its exposures."""

    async def heal(self, stage: Stage) -> None:  # noqa: B027  (what is over by itself needs none)
        """Whatever happened before, also when inject() failed half-way. Must not raise because it is healed already."""

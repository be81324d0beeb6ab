"""What a fault is to the runner, and the stage to a fault."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, Protocol

import psycopg

from dtsched.embedded import Cluster
from dtsched.torture.history import Recorder

Group = Literal["processes", "postgres", "network", "semantics"]
MemberRole = Literal["worker", "api", "submitter", "http_worker"]


class Member(Protocol):
    """A process of the run. The stage starts another one in its place when it ends, as a supervisor would."""

    name: str
    role: MemberRole

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool: ...


class Wire(Protocol):
    """The proxy between all members and the database; the stage's own connections do not go through it. `role` is a
    word of the connections' application_name, "" for all."""

    async def silence(self, role: str = "", *, new_ones_too: bool = False) -> None:
        """Half-open: nothing is forwarded any more, and every socket stays open."""
        ...

    async def refuse(self) -> None:
        """New connections are reset at once."""
        ...

    async def cut(self, role: str = "") -> int:
        """Resets what is open; how many connections that were."""
        ...

    async def slow(self, seconds: float, *, piece_bytes: int | None = None) -> None:
        """Holds back whatever passes for as long; `piece_bytes`: in pieces of that size."""
        ...

    async def cut_on_commit(self, share: float, role: str = "") -> None:
        """Of so many of the commits that come back, the answer is lost and the connection with it."""
        ...

    async def heal(self) -> dict[str, int]:
        """Everything passes again. What was done since the last time: cut, silenced, commits_cut, …"""
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
    strikes: ClassVar[int] = 5
    """Windows of a run in which it is planned: enough for 20 exposures."""
    overlaps: ClassVar[bool] = False
    """Whether a handler may be started again under its hands although an earlier one still runs (invariant S5)."""

    def __init__(self, random: Random) -> None:
        self.random = random

    @classmethod
    def missing(cls, stage: Stage) -> str | None:
        """Why it cannot be injected here (not root, a Debian package that is not there, …), or None."""
        return None

    @abstractmethod
    async def inject(self, stage: Stage) -> Sequence[int]:
        """Returns the jobs that were in flight where it struck: its exposures."""

    async def heal(self, stage: Stage) -> None:  # noqa: B027  (what is over by itself needs none)
        """Whatever happened before, also when inject() failed half-way. Must not raise because it is healed already."""
